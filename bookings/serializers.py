from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from bookings.models import MAX_QUANTITY, Booking
from concerts.serializers import ConcertSerializer, TicketTierSerializer
from ticketbook.api.amounts import AmountField
from ticketbook.api.strict import (
    StrictCharField,
    StrictIntegerField,
    StrictMoneyField,
    StrictSerializer,
    StrictUUIDField,
)

KEY_HEADER = "Idempotency-Key"
KEY_META = "HTTP_IDEMPOTENCY_KEY"  # cheaper than request.headers, which reads all headers


class PlaceBookingSerializer(StrictSerializer):
    """The body of POST /bookings. The key may come as a header instead (`with_key_of_header`)."""

    null_is_absent = frozenset({"idempotencyKey", "userId"})

    ticketTierId = StrictUUIDField()
    quantity = StrictIntegerField(min_value=1, max_value=MAX_QUANTITY)
    idempotencyKey = StrictUUIDField(
        required=False, help_text=f"Made by the client; or send it as header {KEY_HEADER}."
    )
    userId = StrictCharField(required=False, help_text="If sent, it must be the caller's own.")
    maxTotal = StrictMoneyField(
        required=False,
        allow_null=True,
        help_text="The most that all tickets together may cost. If they cost more now, nothing is booked: "
        "409 `changed`. A repeated request gets its booking whatever it sends here.",
    )

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if "idempotencyKey" not in values:
            raise ValidationError(
                {"idempotencyKey": [f"Send it, or the header {KEY_HEADER}."]}, code="required"
            )
        return values


def with_key_of_header(data: Any, header: str | None) -> Any:
    """The body with the key from the header, which may be quoted (RFC 8941) or not.

    A key in the body that is null counts as absent then.
    """
    if header is None:
        return data
    if len(header) > 1 and header[0] == header[-1] == '"':
        header = header[1:-1]
    sent = data.get("idempotencyKey")
    if sent is not None and str(sent).lower() != header.lower():
        raise ValidationError(
            {"idempotencyKey": [f"It differs from the header {KEY_HEADER}. Send one."]}
        )
    return {**data, "idempotencyKey": header}


class BookingSerializer(serializers.ModelSerializer[Booking]):
    userId = serializers.CharField(source="user.public_id")
    ticketTierId = serializers.UUIDField(source="ticket_tier_id")
    totalPrice = AmountField(source="total_price")
    paymentStatus = serializers.ChoiceField(
        source="payment_status", choices=Booking.PaymentStatus.choices
    )
    failureReason = serializers.CharField(
        source="failure_reason", help_text="Empty, DECLINED or EXPIRED"
    )
    returnedQuantity = serializers.IntegerField(
        source="returned_quantity", help_text="Tickets that were given back"
    )
    refundedTotal = AmountField(
        source="refunded_total", help_text="Money that was sent back, or is on its way"
    )
    idempotencyKey = serializers.UUIDField(source="idempotency_key")
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")

    class Meta:
        model = Booking
        fields = [
            "id",
            "userId",
            "ticketTierId",
            "quantity",
            "totalPrice",
            "status",
            "paymentStatus",
            "failureReason",
            "returnedQuantity",
            "refundedTotal",
            "idempotencyKey",
            "createdAt",
            "updatedAt",
        ]


class NextActionSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=["redirect"])
    url = serializers.URLField()


class PendingBookingSerializer(BookingSerializer):
    """A booking whose payment is not known yet (202)."""

    nextAction = NextActionSerializer(
        required=False, help_text="Sent if the customer has to pay at this address"
    )

    class Meta(BookingSerializer.Meta):
        fields = [*BookingSerializer.Meta.fields, "nextAction"]


class BookingWithDetailsSerializer(BookingSerializer):
    concert = ConcertSerializer(source="ticket_tier.concert")
    ticketTier = TicketTierSerializer(source="ticket_tier")

    class Meta(BookingSerializer.Meta):
        fields = [*BookingSerializer.Meta.fields, "concert", "ticketTier"]


class PaymentDeclinedSerializer(serializers.Serializer[Any]):
    """The problem of a declined payment (402), with its booking."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    booking = BookingSerializer()


class RefusedBookingSerializer(serializers.Serializer[Any]):
    """The problem of a booking that was refused (409). Nothing was charged."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(
        help_text="`insufficient_tickets`, `sales_closed`, `customer_limit_reached`, `changed` (the total is "
        "above `maxTotal`), or `request_in_progress`"
    )
    availableQuantity = serializers.IntegerField(
        required=False, help_text="With `insufficient_tickets`: how many are left"
    )
    price = serializers.DecimalField(
        max_digits=10,
        decimal_places=2,
        required=False,
        help_text="With `changed`: what one ticket costs now",
    )
    total = serializers.DecimalField(
        max_digits=10,
        decimal_places=2,
        required=False,
        help_text="With `changed`: what all tickets together would cost now",
    )


# DRF copies every field each time a serializer is made, which costs more than the validation. This one
# keeps nothing between calls, so all requests share it.
PLACE_BOOKING = PlaceBookingSerializer()
