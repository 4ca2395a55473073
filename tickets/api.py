from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.auth import customer
from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from bookings.serializers import KEY_HEADER, KEY_META, BookingSerializer, with_key_of_header
from ticketbook.api.views import StrictView
from ticketbook.postgres import clock
from tickets.files import CALENDAR, PDF, calendar_file, pdf_file
from tickets.fulfilment import fulfil
from tickets.models import Ticket
from tickets.naming import name_holder
from tickets.returning import numbers_of
from tickets.serializers import CancellationSerializer, HolderSerializer, TicketSerializer

NOT_CONFIRMED = OpenApiResponse(
    {"$ref": "#/components/schemas/Problem"},
    "`not_confirmed`: the booking is pending, failed or cancelled, and so has no tickets",
)


class Tickets(StrictView):
    @extend_schema(
        summary="The tickets of a confirmed booking of mine",
        responses={200: TicketSerializer(many=True), 409: NOT_CONFIRMED},
    )
    def get(self, request: Request, booking_id: UUID) -> Response:
        tickets = fulfil(_mine(request, booking_id), now=clock.now())
        return Response(TicketSerializer(tickets, many=True).data)


class TicketsPdf(StrictView):
    @extend_schema(
        operation_id="bookings_tickets_pdf",
        summary="The tickets of a confirmed booking of mine, to print",
        responses={(200, PDF): OpenApiTypes.BINARY, 409: NOT_CONFIRMED},
    )
    def get(self, request: Request, booking_id: UUID) -> HttpResponse:
        return pdf_file(_mine(request, booking_id))


class Calendar(StrictView):
    @extend_schema(
        operation_id="bookings_calendar",
        summary="The concert of a confirmed booking of mine, for a calendar (iCalendar)",
        responses={(200, CALENDAR): OpenApiTypes.BINARY, 409: NOT_CONFIRMED},
    )
    def get(self, request: Request, booking_id: UUID) -> HttpResponse:
        return calendar_file(_mine(request, booking_id))


class TicketDetail(StrictView):
    @extend_schema(
        summary="Say who comes with a ticket of mine",
        request=HolderSerializer,
        responses={
            200: TicketSerializer,
            409: OpenApiResponse(
                {"$ref": "#/components/schemas/Problem"},
                "`not_confirmed`; `ticket_void`: it was returned; `names_closed`: the concert has begun",
            ),
        },
    )
    def patch(self, request: Request, ticket_id: UUID) -> Response:
        mine = Ticket.objects.of(customer(request)).with_details()
        ticket, now = get_object_or_404(mine, pk=ticket_id), clock.ask()
        values = HolderSerializer().run_validation(request.data)
        name_holder(ticket, values["holderName"], now=now)
        return Response(TicketSerializer(ticket).data)


class Cancellation(StrictView):
    @extend_schema(
        summary="Cancel a confirmed booking, or return some of its tickets; the money goes back",
        request=CancellationSerializer,
        parameters=[OpenApiParameter(KEY_HEADER, UUID, OpenApiParameter.HEADER)],
        responses=BookingSerializer,
    )
    def post(self, request: Request, booking_id: UUID) -> Response:
        booking, now = _mine(request, booking_id), clock.ask()
        body = with_key_of_header(request.data, request.META.get(KEY_META))
        values = CancellationSerializer().run_validation(body)
        quantity, key = values.get("quantity"), values.get("idempotencyKey")
        numbers = None
        if "tickets" in values:
            numbers = _numbers_of(booking, values["tickets"])
            quantity = len(numbers)
        replayed = False
        if quantity is None:
            cancel(booking, key=key, now=now)
        else:
            replayed = return_tickets(booking, quantity, numbers=numbers, key=key, now=now)
        headers = {"Idempotent-Replayed": "true"} if replayed else None
        return Response(BookingSerializer(booking).data, headers=headers)


def _numbers_of(booking: Booking, tickets: list[UUID]) -> set[int]:
    numbers = numbers_of(booking, tickets)
    if numbers is None:
        raise ValidationError(
            {"tickets": ["Name only tickets of this booking."]}, code="unknown_ticket"
        )
    return numbers


def _mine(request: Request, booking_id: UUID) -> Booking:
    mine = Booking.objects.of(customer(request)).with_details().with_sales()
    return get_object_or_404(mine, pk=booking_id)
