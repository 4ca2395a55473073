"""The races of test_races.py through the API, both ways, in batches and in batches of one."""

import json
import uuid
from functools import cache

import pytest

from bookings.errors import BookingError
from bookings.models import Booking
from bookings.tests.api_client import URL, by_django, token_of
from bookings.tests.test_races import (  # noqa: F401
    test_buyers_of_several_tickets_never_get_half_a_wish,
    test_buying_and_cancelling_at_once_keeps_the_books,
    test_capacity_changes_among_sales_keep_the_books,
    test_fifty_requests_with_one_key_book_and_charge_once,
    test_one_customer_in_many_windows_keeps_to_the_limit,
    test_one_key_on_two_tiers_at_once_books_one_of_them,
    test_sixty_four_buyers_race_for_ten_tickets,
)
from ticketbook.asgi import application
from ticketbook.tests.asgi import ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]

CODES = {error.code: error for error in BookingError.__subclasses__()}


@pytest.fixture(params=[application, by_django], ids=["front", "thread"])
def book(request, settings):
    """Book by the API, on the event loop or on a thread. Returns and raises what `place` does."""
    settings.ALLOWED_HOSTS = ["testserver"]

    token_for = cache(token_of)

    def book(user, tier, quantity=1, *, key=None):
        key = str(key or uuid.uuid4())
        body = {"ticketTierId": str(tier.pk), "quantity": quantity, "idempotencyKey": key}
        headers = [("Authorization", f"Token {token_for(user)}")]
        answer = ask(request.param, "POST", URL, json.dumps(body).encode(), headers=headers)
        if answer.status_code != 201:
            raise CODES[answer.json()["code"]]
        return Booking.objects.get(pk=answer.json()["id"])

    return book
