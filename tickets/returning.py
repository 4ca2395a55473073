"""When some tickets of a booking are returned: which ones, and what becomes of their rows."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from bookings.models import Booking
from tickets.models import Ticket


def mark_returned(*, booking: Booking, numbers: Collection[int], now: datetime, **kw: Any) -> None:
    """Make returned tickets void, in the transaction that returns them and has locked the booking.

    If the booking has no tickets yet, there is nothing to do: they are made by what was returned.
    """
    returned = Ticket.objects.filter(booking=booking, number__in=numbers, returned_at=None)
    returned.update(returned_at=now)


def numbers_of(booking: Booking, tickets: Iterable[UUID]) -> set[int] | None:
    """The numbers of these tickets of a booking; None if one of them is not the booking's."""
    ids = set(tickets)
    numbers = Ticket.objects.filter(booking=booking, pk__in=ids).values_list("number", flat=True)
    found = set(numbers)
    return found if len(found) == len(ids) else None
