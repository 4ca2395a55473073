"""What a booking may be, and the conditions that models, statements and jobs share."""

from datetime import UTC, datetime

from django.db.models import Q

MAX_QUANTITY = 10  # tickets of one booking; also in the CHECK booking_quantity_range

# Status, payment status and failure reason, as they may go together. PostgreSQL reads a CHECK anew for every
# statement, and a list of texts takes a quarter of the time of the same rule written with AND and OR.
ALLOWED_STATES = [
    "PENDING PENDING ",
    "CONFIRMED SUCCESS ",
    "CONFIRMED REFUNDED ",  # staff gave all the money back, and the customer keeps the tickets
    "FAILED FAILED DECLINED",
    "FAILED FAILED EXPIRED",
    # The money came after the tickets had gone: it is owed, then sent back.
    "FAILED SUCCESS EXPIRED",
    "FAILED REFUNDED EXPIRED",
    "CANCELLED SUCCESS ",
    "CANCELLED REFUNDED ",
]

# `fulfilled_at` of bookings that were made before there were tickets. Nobody is mailed about them, and
# their tickets are made when somebody asks for them.
BEFORE_TICKETS = datetime(1970, 1, 1, tzinfo=UTC)

# What is to be done for a booking after its sale: its tickets are made, or its customer, whose request had
# got no outcome, is told that it failed. (At a payment page the customer sees that.)
TO_FULFIL = Q(fulfilled_at__isnull=True) & (
    Q(status="CONFIRMED") | Q(status="FAILED", outcome_unknown=True, action_url="")
)

# The bookings whose tickets have been taken from stock.
HOLDS_TICKETS = Q(status__in=["PENDING", "CONFIRMED"])
