"""What is kept of a customer's tickets: for the download, and when the account is closed."""

from typing import Any

from accounts.models import User
from accounts.own_data import Part
from tickets.models import Ticket
from tickets.serializers import TicketSerializer


def _export(user: User) -> list[dict[str, Any]]:
    mine = list(Ticket.objects.of(user).with_details().order_by("-booking_id", "number"))
    written = TicketSerializer(mine, many=True).data
    return [
        {"bookingId": ticket.booking_id, **data} for data, ticket in zip(written, mine, strict=True)
    ]


def _forget(user: User) -> None:
    Ticket.objects.of(user).exclude(holder_name="").update(holder_name="")


PART = Part("tickets", _export, forget=_forget)
