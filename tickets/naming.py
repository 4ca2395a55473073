"""To say who comes with a ticket."""

from collections.abc import Mapping
from datetime import datetime

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction

from accounts.models import User
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
    # A booking that goes to another address gets new tickets, perhaps at this moment.
    if not Ticket.objects.filter(pk=ticket.pk).update(holder_name=name):
        raise TicketVoid


def name_holders(booking: Booking, names: Mapping[int, str], *, by: User, now: datetime) -> int:
    """Staff write who comes, by the numbers of tickets. Returns how many names have changed.

    All of them are written, or none. Raises what `name_holder` raises.
    """
    with transaction.atomic():
        tickets = Ticket.objects.select_for_update(no_key=True).filter(booking=booking)
        changed = [
            ticket
            for ticket in tickets.filter(number__in=names).order_by("number")
            if ticket.holder_name != names[ticket.number]
        ]
        for ticket in changed:
            ticket.booking = booking
            name_holder(ticket, names[ticket.number], now=now)
        if changed:
            said = f"Named who comes with {', '.join(f'ticket {each.number}' for each in changed)}"
            LogEntry.objects.log_actions(by.pk, [booking], CHANGE, said, single_object=True)
    return len(changed)
