from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from concerts.models import Concert
from concerts.search import search
from concerts.serializers import (
    AvailabilitySerializer,
    ConcertWithAvailabilitySerializer,
    ConcertWithTiersSerializer,
)
from ticketbook.api.views import StrictView
from ticketbook.copies.responses import for_all
from ticketbook.pagination import Page
from ticketbook.postgres import clock
from ticketbook.replica.reading import read

FILTERS = [
    OpenApiParameter(
        "q",
        description="Words, each of them part of the name, artist or venue; case and accents do not matter",
    ),
    OpenApiParameter("artist", description="Part of the artist; case and accents do not matter"),
    OpenApiParameter("venue", description="Part of the venue; case and accents do not matter"),
    OpenApiParameter("dateFrom", description="A day at the venue, or a time; included"),
    OpenApiParameter("dateTo", description="A day at the venue, or a time; included"),
    OpenApiParameter(
        "available", bool, description="true: only concerts of which a ticket can be bought now"
    ),
    OpenApiParameter("limit", int, description="1 to 200, 50 unless told"),
    OpenApiParameter("cursor", description="From the Link header of the page before"),
]


class PublicView(StrictView):
    """Everybody gets the same answer, so no token is looked at."""

    permission_classes = [AllowAny]
    authentication_classes = []


class Concerts(PublicView):
    query = FILTERS

    @extend_schema(
        summary="Published concerts, soonest first",
        parameters=FILTERS,
        responses=ConcertWithAvailabilitySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        return read(request, lambda: self._page(request))

    def _page(self, request: Request) -> Response:
        now = clock.now()
        concerts = search(request.query_params, now=now)
        page = Page(concerts.with_tiers(), request, keys=["date", "id"])
        data = ConcertWithAvailabilitySerializer(page.rows, many=True, context={"now": now}).data
        return for_all(Response(data, headers=page.headers))


def _announced_or_404(request: Request, concert_id: UUID) -> Concert:
    concerts = Concert.objects.announced().with_tiers()
    return read(request, lambda: get_object_or_404(concerts, pk=concert_id))


class ConcertDetail(PublicView):
    @extend_schema(
        summary="One concert and its tiers, even if it was called off",
        responses=ConcertWithTiersSerializer,
    )
    def get(self, request: Request, concert_id: UUID) -> Response:
        concert, now = _announced_or_404(request, concert_id), clock.now()
        return for_all(Response(ConcertWithTiersSerializer(concert, context={"now": now}).data))


class Availability(PublicView):
    @extend_schema(
        summary="What is left of each tier (with an ETag: ask again with If-None-Match)",
        responses=AvailabilitySerializer,
    )
    def get(self, request: Request, concert_id: UUID) -> Response:
        concert = _announced_or_404(request, concert_id)
        return for_all(Response(AvailabilitySerializer(concert).data))
