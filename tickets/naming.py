"""To say who comes with a ticket."""

from datetime import datetime

from bookings.models import Booking
from tickets.errors import NamesClosed, NotConfirmed, TicketVoid
from tickets.models import Ticket


def name_holder(ticket: Ticket, name: str, *, now: datetime) -> None:
    """Write the name of who comes; an empty one removes it.

    Raises NotConfirmed, TicketVoid and NamesClosed.
    """
    if ticket.booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    if not ticket.is_valid:
        raise TicketVoid
    if not ticket.nameable_at(now):
        raise NamesClosed
    ticket.holder_name = name
    ticket.save(update_fields=["holder_name"])
