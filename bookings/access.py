"""Who may open a booking: its customer, and for a guest's booking the browser that remembers it.

A browser remembers the bookings that a guest has made in it, and those whose mailed link was opened in it.
They are in a signed cookie that is sent to the pages of bookings only, so a guest is still a stranger to all
other pages and gets them from copies. To know an address, or the id of a booking, opens nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from accounts.auth import customer
from bookings.models import Booking, BookingQuerySet

COOKIE = "guest"
SALT = "bookings.access"
COOKIE_SECONDS = 180 * 24 * 3600
MOST = 20  # bookings that a browser remembers

View = Callable[..., HttpResponseBase]


class LogInFirst(Exception):
    """Nobody is logged in, and this browser does not remember the booking."""


def guests_too(view: View) -> View:
    """A decorator for views that call `mine_or_404`. A stranger is sent to log in."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except LogInFirst:
            return redirect_to_login(request.get_full_path())

    return wrapped


def mine_or_404(request: HttpRequest, booking_id: UUID) -> Booking:
    """The booking with its details.

    Raises Http404 if the customer who is logged in may not open it. For a stranger it raises LogInFirst,
    whether there is such a booking or not.
    """
    remembered = of_this_browser(request)
    if request.user.is_authenticated:
        mine = Booking.objects.of(customer(request)).with_details().filter(pk=booking_id).first()
        if mine or remembered is None:
            return _found(mine)
        return get_object_or_404(remembered.with_details(), pk=booking_id)
    booking = remembered and remembered.with_details().filter(pk=booking_id).first()
    if not booking:
        raise LogInFirst
    return booking


def _found(booking: Booking | None) -> Booking:
    if booking is None:
        raise Http404
    return booking


def of_this_browser(request: HttpRequest) -> BookingQuerySet | None:
    """The guests' bookings that this browser remembers; None if it remembers none."""
    slips = _slips(request)
    return Booking.objects.of_slips(slips) if slips else None


def remember(request: HttpRequest, response: HttpResponse, slip: UUID, stops: int) -> None:
    """Let this browser open the booking of a slip from now on."""
    slips = {slip: stops} | {pk: n for pk, n in _slips(request).items() if pk != slip}
    _write(response, slips)


def forget_all(response: HttpResponse) -> None:
    response.delete_cookie(COOKIE, path=reverse("bookings:list"), samesite="Lax")


def _slips(request: HttpRequest) -> dict[UUID, int]:
    # Newest first, with how often their links had been stopped.
    try:
        found: Any = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=COOKIE_SECONDS
        )
        return {UUID(pk): int(stops) for pk, stops in found}
    except (signing.BadSignature, ValueError):
        return {}


def _write(response: HttpResponse, slips: dict[UUID, int]) -> None:
    newest = [(pk.hex, stops) for pk, stops in list(slips.items())[:MOST]]
    response.set_cookie(
        COOKIE,
        signing.dumps(newest, salt=SALT),
        max_age=COOKIE_SECONDS,
        path=reverse("bookings:list"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
