"""The tables of this app. All of it is imported from here."""

from bookings.models.booking import RETURN_AFTER_MOVE, Booking
from bookings.models.gateways import GatewayPause, PaymentEvent
from bookings.models.guest_slip import GuestSlip
from bookings.models.money_back import MoneyBack, Refund, RefundQuerySet, Return
from bookings.models.queries import MAY_GO_ON, BookingQuerySet
from bookings.models.states import BEFORE_TICKETS, HOLDS_TICKETS, MAX_QUANTITY, TO_FULFIL

__all__ = [
    "BEFORE_TICKETS",
    "HOLDS_TICKETS",
    "MAX_QUANTITY",
    "MAY_GO_ON",
    "RETURN_AFTER_MOVE",
    "TO_FULFIL",
    "Booking",
    "BookingQuerySet",
    "GatewayPause",
    "GuestSlip",
    "MoneyBack",
    "PaymentEvent",
    "Refund",
    "RefundQuerySet",
    "Return",
]
