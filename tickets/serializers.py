from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from bookings.models import MAX_QUANTITY
from bookings.serializers import KEY_HEADER
from ticketbook.api.strict import (
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
)
from ticketbook.plain_text import plain_text
from tickets.models import Ticket


class TicketSerializer(serializers.ModelSerializer[Ticket]):
    code = serializers.CharField(help_text="To read out, as 7QX4-9MRT-2K8")
    holderName = serializers.CharField(source="holder_name", help_text="Who comes; may be empty")
    state = serializers.ChoiceField(choices=Ticket.State.choices)
    token = serializers.SerializerMethodField(
        help_text="What the QR code says, signed; null if the ticket is void"
    )

    class Meta:
        model = Ticket
        fields = ["id", "number", "code", "holderName", "state", "token"]

    def get_token(self, ticket: Ticket) -> str | None:
        return ticket.token if ticket.is_valid else None


def plain_or_empty(name: str) -> None:
    if name:
        plain_text(name)


class HolderSerializer(StrictSerializer):
    """The body of PATCH /tickets/{id}."""

    holderName = StrictCharField(
        max_length=150,
        allow_blank=True,
        validators=[plain_or_empty],
        help_text="Who comes. An empty text removes the name.",
    )


class CancellationSerializer(StrictSerializer):
    """The body of POST /bookings/{id}/cancellation, which may be empty.

    null is refused for quantity and tickets: without them all tickets go back.
    """

    null_is_absent = frozenset({"idempotencyKey"})

    quantity = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=MAX_QUANTITY,
        help_text=f"Return only so many tickets. It needs an {KEY_HEADER} of its own.",
    )
    tickets = serializers.ListField(
        child=StrictUUIDField(),
        required=False,
        min_length=1,
        max_length=MAX_QUANTITY,
        help_text="Return only these tickets, by their ids; a quantity, if it is sent too, is their number. "
        f"It needs an {KEY_HEADER} of its own. With a quantity alone the last tickets go.",
    )
    idempotencyKey = StrictUUIDField(
        required=False, help_text=f"Or send it as header {KEY_HEADER}."
    )

    def validate_tickets(self, tickets: list[Any]) -> list[Any]:
        if len(set(tickets)) < len(tickets):
            raise ValidationError("Name each ticket once.", code="repeated_ticket")
        return tickets

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        some = {"quantity", "tickets"} & set(values)
        if some and "idempotencyKey" not in values:
            says = f"To return some of the tickets, send it, or the header {KEY_HEADER}."
            raise ValidationError({"idempotencyKey": [says]}, code="required")
        if len(some) == 2 and values["quantity"] != len(values["tickets"]):
            says = "It is not the number of tickets. Leave it out, or name as many tickets."
            raise ValidationError({"quantity": [says]})
        return values
