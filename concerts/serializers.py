from typing import Any

from rest_framework import serializers

from concerts.models import Concert, TicketTier


class TicketTierSerializer(serializers.ModelSerializer[TicketTier]):
    concertId = serializers.UUIDField(source="concert_id")
    tierType = serializers.ChoiceField(source="tier_type", choices=TicketTier.Type.choices)
    totalQuantity = serializers.IntegerField(source="total_quantity")
    availableQuantity = serializers.IntegerField(source="available_quantity")
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")

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
        ]


class ConcertSerializer(serializers.ModelSerializer[Concert]):
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")

    class Meta:
        model = Concert
        fields = ["id", "name", "artist", "date", "venue", "description", "createdAt", "updatedAt"]


class ConcertWithTiersSerializer(ConcertSerializer):
    ticketTiers = TicketTierSerializer(source="ticket_tiers", many=True)

    class Meta(ConcertSerializer.Meta):
        fields = [*ConcertSerializer.Meta.fields, "ticketTiers"]


class ConcertWithAvailabilitySerializer(ConcertWithTiersSerializer):
    hasAvailableTickets = serializers.BooleanField(source="has_available_tickets")

    class Meta(ConcertWithTiersSerializer.Meta):
        fields = [*ConcertWithTiersSerializer.Meta.fields, "hasAvailableTickets"]


class TierAvailabilitySerializer(serializers.ModelSerializer[TicketTier]):
    tierId = serializers.UUIDField(source="id")
    tierType = serializers.ChoiceField(source="tier_type", choices=TicketTier.Type.choices)
    availableQuantity = serializers.IntegerField(source="available_quantity")
    totalQuantity = serializers.IntegerField(source="total_quantity")

    class Meta:
        model = TicketTier
        fields = ["tierId", "tierType", "price", "availableQuantity", "totalQuantity"]


class AvailabilitySerializer(serializers.Serializer[Any]):
    concertId = serializers.UUIDField(source="id")
    concertName = serializers.CharField(source="name")
    tiers = TierAvailabilitySerializer(source="ticket_tiers", many=True)
