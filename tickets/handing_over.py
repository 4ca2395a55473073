"""When a booking goes to another address: its tickets get new codes, so that the old ones let nobody in."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from bookings.models import BEFORE_TICKETS, Booking
from mail import outbox
from tickets.codes import new_code
from tickets.fulfilment import TICKETS, make_and_tell
from tickets.models import Ticket


def replace_tickets(*, booking: Booking, now: datetime, **kw: Any) -> None:
    """Replace the tickets, in the transaction that hands the booking over, and mail the new ones.

    They are new rows, because the address of a ticket's page and its QR code contain the key of its row.
    """
    if booking.fulfilled_at is None:
        return  # the worker makes them soon, and mails them to the new address
    old = list(Ticket.objects.filter(booking=booking).order_by("number"))
    Ticket.objects.filter(booking=booking).delete()
    Ticket.objects.bulk_create(
        Ticket(
            booking=booking,
            number=ticket.number,
            code=new_code(),
            holder_name=ticket.holder_name,
            returned_at=ticket.returned_at,
        )
        for ticket in old
    )
    if not old and booking.fulfilled_at == BEFORE_TICKETS:
        make_and_tell([booking], now=now)
    outbox.post(
        kind=TICKETS,
        about=booking.pk,
        to=booking.user.email,
        key=f"{TICKETS}:{booking.pk}:{uuid4()}",
    )
