"""Answers that are somebody's own are kept by no browser and no proxy, not even for the Back button."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# Its answer is the page of a concert, which the Back button shows again with the same idempotency key.
BOOKING_FORM = ("POST", "/bookings/")


class NoStoreMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        form = (request.method, request.path) == BOOKING_FORM
        if request.path.startswith(settings.NEVER_STORED) and not form:
            response["Cache-Control"] = "no-store"
        return response
