"""What is kept of a customer's tickets and messages: for the download, and when the account is closed."""

from typing import Any

from accounts.models import User
from accounts.own_data import Part
from tickets.models import Reached, Ticket
from tickets.serializers import TicketSerializer


def _export(user: User) -> list[dict[str, Any]]:
    mine = list(Ticket.objects.of(user).with_details().order_by("-booking_id", "number"))
    written = TicketSerializer(mine, many=True).data
    return [
        {"bookingId": ticket.booking_id, **data} for data, ticket in zip(written, mine, strict=True)
    ]


def _messages(user: User) -> list[dict[str, Any]]:
    mine = Reached.objects.filter(booking__user=user).select_related("message")
    return [
        {
            "bookingId": each.booking_id,
            "subject": each.message.subject,
            "text": each.message.text,
            "writtenAt": each.message.made_at,
        }
        for each in mine.order_by("-message_id", "booking_id")
    ]


def _forget(user: User) -> None:
    Ticket.objects.of(user).exclude(holder_name="").update(holder_name="")


PART = Part("tickets", _export, forget=_forget)
MESSAGES = Part("messages", _messages)
