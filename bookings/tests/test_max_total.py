"""`maxTotal`: a client of the API says what all tickets together may cost."""

import uuid

import pytest

from bookings.models import Booking
from bookings.tests.api_client import problem
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_ways", "every_payment_succeeds"),
]


@pytest.fixture
def tier():
    return TicketTierFactory(price="40.00")


@pytest.mark.parametrize("limit", ["120.00", "120", "120.0", "0120.00", "99999999.99", None])
def test_a_total_within_the_limit_is_booked(api, tier, limit):
    response = api.book(tier, 3, maxTotal=limit)
    assert response.status_code == 201
    assert response.json()["totalPrice"] == "120.00"


@pytest.mark.parametrize("limit", ["119.99", "40.00", "0", "0.00"])
def test_a_total_above_the_limit_is_refused_with_what_it_is_now(api, tier, left, limit):
    response = api.book(tier, 3, maxTotal=limit)
    assert problem(response) == (409, "changed")
    assert (response.json()["price"], response.json()["total"]) == ("40.00", "120.00")
    assert left(tier) == 100
    assert not Booking.objects.exists()


def test_a_price_that_was_raised_is_refused_and_the_key_can_be_used_again(api, tier):
    key = uuid.uuid4()
    TicketTier.objects.update(price="45.00")
    assert problem(api.book(tier, 2, key, maxTotal="80.00")) == (409, "changed")
    response = api.book(tier, 2, key, maxTotal="90.00")
    assert response.status_code == 201
    assert response.json()["totalPrice"] == "90.00"


def test_a_free_ticket_is_within_any_limit(api):
    assert api.book(TicketTierFactory(price="0.00"), 10, maxTotal="0").status_code == 201


def test_a_repeated_request_gets_its_booking_whatever_it_may_cost(api, tier):
    key = uuid.uuid4()
    first = api.book(tier, 2, key, maxTotal="80.00")
    TicketTier.objects.update(price="45.00")
    for more in ({"maxTotal": "80.00"}, {"maxTotal": "1.00"}, {}, {"maxTotal": None}):
        again = api.book(tier, 2, key, **more)
        assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == first.json()


def test_too_few_tickets_are_told_before_their_price(api):
    tier = TicketTierFactory(price="40.00", total_quantity=1)
    assert problem(api.book(tier, 3, maxTotal="1.00")) == (409, "insufficient_tickets")


@pytest.mark.parametrize(
    "limit",
    ["", " ", "x", "-1", "-0.01", "+1", "1.001", "1.", ".5", "1e3", "NaN", "Infinity", "1_000", "1,000.00",
     "100000000.00", "9" * 400, "٣", "$5", " 5", "5\n", "5:00", "\x00", "\ud800", 120, 120.0, 0,
     True, [], {}],
)  # fmt: skip
def test_a_limit_that_is_no_amount_is_refused(api, tier, left, limit):
    response = api.book(tier, 1, maxTotal=limit)
    assert problem(response) == (400, "invalid")
    (error,) = response.json()["errors"]
    assert error["field"] == "maxTotal"
    assert '"120.00"' in error["detail"]
    assert left(tier) == 100


def test_the_contract_describes_it(client):
    schema = client.get("/api/v1/openapi.json").json()
    body = schema["components"]["schemas"]["PlaceBooking"]
    assert "maxTotal" in body["properties"]
    assert "maxTotal" not in body["required"]
    answers = schema["paths"]["/api/v1/bookings"]["post"]["responses"]
    refused = answers["409"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"price", "total", "code"} <= set(schema["components"]["schemas"][refused]["properties"])
