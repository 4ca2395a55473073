from typing import Any

from django.conf import settings
from rest_framework import serializers

from concerts.models import Concert, TicketTier
from ticketbook.api.amounts import AmountField


class TicketTierSerializer(serializers.ModelSerializer[TicketTier]):
    concertId = serializers.UUIDField(source="concert_id")
    tierType = serializers.ChoiceField(source="tier_type", choices=TicketTier.Type.choices)
    price = AmountField()
    totalQuantity = serializers.IntegerField(source="total_quantity")
    availableQuantity = serializers.IntegerField(source="available_quantity")
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")
    currency = serializers.SerializerMethodField()
    maxPerCustomer = serializers.IntegerField(
        source="max_per_customer",
        allow_null=True,
        help_text="How many tickets one customer may have; null for no limit",
    )

    class Meta:
        model = TicketTier
        fields = [
            "id",
            "concertId",
            "tierType",
            "price",
            "totalQuantity",
            "availableQuantity",
            "createdAt",
            "updatedAt",
            "currency",
            "maxPerCustomer",
        ]

    def get_currency(self, tier: TicketTier) -> str:
        currency: str = settings.CURRENCY
        return currency


class OnSaleField(serializers.BooleanField):
    """Whether a ticket can be bought at the time `now` of the serializer's context."""

    def get_attribute(self, concert: Concert) -> bool:
        return concert.is_on_sale(self.context["now"])


class ConcertSerializer(serializers.ModelSerializer[Concert]):
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")
    status = serializers.ChoiceField(choices=Concert.Status.choices)
    timeZone = serializers.CharField(
        source="time_zone",
        help_text="Of the venue, by its name in the IANA database: America/New_York. Times are in UTC; show "
        "them by the clock of this zone.",
    )
    salesOpenAt = serializers.DateTimeField(
        source="sales_open_at", allow_null=True, help_text="null: from the publication on"
    )
    salesCloseAt = serializers.DateTimeField(
        source="sales_close_at", allow_null=True, help_text="null: until the concert begins"
    )
    onSale = OnSaleField(
        help_text="Whether a ticket can be bought now: published, within the sales times, not begun, "
        "and tickets are left"
    )

    class Meta:
        model = Concert
        fields = [
            "id",
            "name",
            "artist",
            "date",
            "venue",
            "description",
            "createdAt",
            "updatedAt",
            "status",
            "salesOpenAt",
            "salesCloseAt",
            "onSale",
            "timeZone",
        ]


class ConcertWithTiersSerializer(ConcertSerializer):
    ticketTiers = TicketTierSerializer(source="ticket_tiers", many=True)

    class Meta(ConcertSerializer.Meta):
        fields = [*ConcertSerializer.Meta.fields, "ticketTiers"]


class ConcertWithAvailabilitySerializer(ConcertWithTiersSerializer):
    hasAvailableTickets = OnSaleField(help_text="The same as onSale")

    class Meta(ConcertWithTiersSerializer.Meta):
        fields = [*ConcertWithTiersSerializer.Meta.fields, "hasAvailableTickets"]


class TierAvailabilitySerializer(serializers.ModelSerializer[TicketTier]):
    tierId = serializers.UUIDField(source="id")
    tierType = serializers.ChoiceField(source="tier_type", choices=TicketTier.Type.choices)
    price = AmountField()
    availableQuantity = serializers.IntegerField(source="available_quantity")
    totalQuantity = serializers.IntegerField(source="total_quantity")

    class Meta:
        model = TicketTier
        fields = ["tierId", "tierType", "price", "availableQuantity", "totalQuantity"]


class AvailabilitySerializer(serializers.Serializer[Any]):
    concertId = serializers.UUIDField(source="id")
    concertName = serializers.CharField(source="name")
    tiers = TierAvailabilitySerializer(source="ticket_tiers", many=True)
