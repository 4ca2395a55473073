from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.auth import customer
from bookings.answers import answer_of
from bookings.models import Booking, BookingQuerySet
from bookings.placing import place
from bookings.seen import Seen
from bookings.serializers import (
    KEY_HEADER,
    KEY_META,
    PLACE_BOOKING,
    BookingSerializer,
    BookingWithDetailsSerializer,
    PaymentDeclinedSerializer,
    PendingBookingSerializer,
    PlaceBookingSerializer,
    RefusedBookingSerializer,
    with_key_of_header,
)
from bookings.wishes import Wish
from ticketbook.api.views import StrictView
from ticketbook.errors import NotFound
from ticketbook.pagination import Page
from ticketbook.postgres import clock

PAGING = [OpenApiParameter("limit", int), OpenApiParameter("cursor")]


class Bookings(StrictView):
    query = PAGING

    @extend_schema(
        summary="Book tickets",
        description="When a tier has sold out, a refusal may be up to 100 ms behind tickets that another "
        "server process has just given back.",
        request=PlaceBookingSerializer,
        parameters=[OpenApiParameter(KEY_HEADER, UUID, OpenApiParameter.HEADER)],
        responses={
            201: BookingSerializer,
            202: PendingBookingSerializer,
            402: PaymentDeclinedSerializer,
            409: RefusedBookingSerializer,
        },
    )
    def post(self, request: Request) -> Response:
        body = with_key_of_header(request.data, request.META.get(KEY_META))
        values, user = PLACE_BOOKING.run_validation(body), customer(request)
        if values.get("userId", user.public_id) != user.public_id:
            raise PermissionDenied("userId is not yours. Leave it out, or send your own.")
        max_total = values.get("maxTotal")
        wish = Wish(
            user=user,
            ticket_tier_id=values["ticketTierId"],
            quantity=values["quantity"],
            idempotency_key=values["idempotencyKey"],
            arrived_at=clock.now(),
            seen=None if max_total is None else Seen(max_total=max_total),
        )
        return answer_of(place(wish), user).response

    @extend_schema(
        summary="My bookings, newest first",
        parameters=PAGING,
        responses=BookingWithDetailsSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        return _my_bookings(request)


def _my_bookings(request: Request) -> Response:
    bookings, now = _mine(request), clock.now()
    page = Page(bookings.newest_first(), request, keys=["-id"])
    data = BookingWithDetailsSerializer(page.rows, many=True, context={"now": now}).data
    return Response(data, headers=page.headers)


class UserBookings(StrictView):
    query = PAGING

    @extend_schema(
        operation_id="bookings_list_by_user",
        summary="My bookings, by my user id",
        parameters=PAGING,
        responses=BookingWithDetailsSerializer(many=True),
    )
    def get(self, request: Request, public_id: str) -> Response:
        if public_id != customer(request).public_id:
            raise NotFound
        return _my_bookings(request)


class BookingDetail(StrictView):
    @extend_schema(summary="One booking of mine", responses=BookingWithDetailsSerializer)
    def get(self, request: Request, booking_id: UUID) -> Response:
        booking, now = get_object_or_404(_mine(request), pk=booking_id), clock.now()
        return Response(BookingWithDetailsSerializer(booking, context={"now": now}).data)


def _mine(request: Request) -> BookingQuerySet:
    return Booking.objects.of(customer(request)).with_details().with_sales()
