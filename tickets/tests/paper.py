"""Bookings with their tickets, for what is printed of them; nothing is in the database."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

from bookings.models import Booking
from concerts.models import Concert, TicketTier
from tickets import tokens

MADE = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVENING = datetime(2026, 12, 10, 18, 30, tzinfo=UTC)


def booking_of(quantity=1, *, tier_type="GA", status="CONFIRMED", **concert):
    usual = {"name": "Northern Lights", "artist": "The Testers", "venue": "Town Hall"}
    dates = {"date": EVENING, "created_at": MADE, "updated_at": MADE}
    concert = Concert(id=UUID(int=1), status="PUBLISHED", **usual | dates | concert)
    tier = TicketTier(id=UUID(int=2), concert=concert, tier_type=tier_type)
    return Booking(
        id=UUID(int=3),
        ticket_tier=tier,
        quantity=quantity,
        status=status,
        created_at=MADE,
        updated_at=MADE,
    )


def tickets_of(booking, *holders):
    """A ticket for each of these names; "" is nobody's name."""
    tier = booking.ticket_tier
    return [
        SimpleNamespace(
            number=number,
            code="7QX4-9MRT-2K8",
            holder_name=name,
            is_valid=True,
            token=tokens.sign(
                ticket=UUID(int=number),
                concert=tier.concert.pk,
                tier_type=tier.tier_type,
                number=number,
            ),
        )
        for number, name in enumerate(holders, 1)
    ]
