"""What TicketBook is compared with: the textbook, and doing nothing at all."""

from uuid import uuid4

from django.db import transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.auth import customer
from bookings.models import Booking
from bookings.payments import Outcome, SimulatedGateway
from bookings.serializers import BookingSerializer, PlaceBookingSerializer
from concerts.models import TicketTier


class Textbook(APIView):
    """The textbook path: everything in one transaction through the ORM, the payment under the lock."""

    def post(self, request: Request) -> Response:
        body = PlaceBookingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values, user, now = body.validated_data, customer(request), timezone.now()
        with transaction.atomic():
            known = Booking.objects.filter(user=user, idempotency_key=values["idempotencyKey"])
            if booking := known.first():
                return Response(BookingSerializer(booking).data, status=201)
            tier = TicketTier.objects.select_for_update().get(pk=values["ticketTierId"])
            if tier.available_quantity < values["quantity"]:
                return Response({"code": "insufficient_tickets"}, status=409)
            booking = Booking.objects.create(
                user=user,
                ticket_tier=tier,
                quantity=values["quantity"],
                unit_price=tier.price,
                total_price=tier.price * values["quantity"],
                idempotency_key=values["idempotencyKey"],
                hold_expires_at=now,
            )
            tier.available_quantity -= values["quantity"]
            tier.save()
            outcome = SimulatedGateway().charge(
                key=booking.pk, amount=booking.total_price, time_limit=5
            )
            if outcome is Outcome.SUCCEEDED:
                booking.status, booking.payment_status = "CONFIRMED", "SUCCESS"
            else:
                booking.status, booking.payment_status = "FAILED", "FAILED"
                booking.failure_reason = "DECLINED"
                tier.available_quantity += values["quantity"]
                tier.save()
            booking.save()
        return Response(BookingSerializer(booking).data, status=201)


class Nothing(APIView):
    """Authenticate, validate the same body, answer something of the same shape; no database beside."""

    def post(self, request: Request) -> Response:
        body = PlaceBookingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        values, user, now = body.validated_data, customer(request), timezone.now()
        booking = Booking(
            pk=uuid4(),
            user=user,
            ticket_tier_id=values["ticketTierId"],
            quantity=values["quantity"],
            unit_price=0,
            total_price=0,
            status="CONFIRMED",
            payment_status="SUCCESS",
            idempotency_key=values["idempotencyKey"],
            hold_expires_at=now,
            created_at=now,
            updated_at=now,
        )
        return Response(BookingSerializer(booking).data, status=201)
