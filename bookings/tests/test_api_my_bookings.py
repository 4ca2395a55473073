"""Reading and cancelling bookings by the API."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bookings.tests.api_client import Api, problem
from concerts.tests.factories import TicketTierFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_ways", "every_payment_succeeds"),
]


# --- Reading ------------------------------------------------------------------------------------


def test_my_bookings_newest_first_with_details(api, ann, bob, tier):
    first, second = api.book(tier).json(), api.book(tier, 2).json()
    Api(bob).book(tier)
    for path in ("", f"/{ann.public_id}"):
        rows = api.get(path).json()
        assert [row["id"] for row in rows] == [second["id"], first["id"]]
    row = rows[0]
    assert {k: row[k] for k in second} == second
    assert row["concert"]["name"] == tier.concert.name
    assert set(row["concert"]) == {
        *("id", "name", "artist", "date", "venue", "description", "createdAt", "updatedAt"),
        *("status", "timeZone", "salesOpenAt", "salesCloseAt", "onSale"),
    }
    assert row["concert"]["onSale"] is True
    assert row["ticketTier"]["price"] == "10.00"
    assert set(row["ticketTier"]) == {
        *("id", "concertId", "tierType", "price", "totalQuantity", "availableQuantity"),
        *("createdAt", "updatedAt", "currency", "maxPerCustomer"),
    }


def test_a_booking_is_there_for_its_owner_only(api, bob, tier):
    booking = api.book(tier).json()
    assert api.get(f"/{booking['id']}").json()["id"] == booking["id"]
    other = Api(bob)
    assert problem(other.get(f"/{booking['id']}")) == (404, "not_found")
    assert problem(other.get(f"/{api.user.public_id}")) == (404, "not_found")
    assert problem(other.post({}, f"/{booking['id']}/cancellation")) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/x", "/123", "/user_", "/user_x", f"/{uuid.UUID(int=1)}", "/%00"]
)
def test_an_unknown_booking_or_user_is_not_found(api, path):
    assert problem(api.get(path)) == (404, "not_found")


def test_my_bookings_come_in_pages_that_new_ones_do_not_shift(api, tier):
    made = [api.book(tier).json()["id"] for _ in range(5)]
    page = api.get("?limit=2")
    seen = [row["id"] for row in page.json()]
    api.book(tier)
    while link := page.headers.get("Link"):
        url = link.removeprefix("<").removesuffix('>; rel="next"')
        page = api.client.get(url)
        seen += [row["id"] for row in page.json()]
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=1000000", "cursor=x", "cursor=W10", "cursor=%00"],
)
def test_bad_paging_is_refused(api, query):
    assert problem(api.get(f"?{query}")) == (400, "invalid")


def test_my_bookings_take_as_many_queries_for_one_as_for_many(api, tier, django_assert_num_queries):
    api.book(tier)
    with CaptureQueriesContext(connection) as one:
        api.get()
        queries = len(one)
    for _ in range(5):
        api.book(TicketTierFactory())
    with django_assert_num_queries(queries):
        api.get()


@pytest.mark.parametrize("declined", [False, True])
def test_a_booking_reads_later_as_it_was_answered(api, tier, settings, declined):
    """The hot API writes its answer without the serializer that all others use."""
    settings.PAYMENT_SUCCESS_RATE = 0 if declined else 1
    answer = api.book(tier, 3).json()
    first = answer["booking"] if declined else answer
    later = api.get(f"/{first['id']}").json()
    assert first == {name: later[name] for name in first}
    assert set(later) - set(first) == {"concert", "ticketTier"}


# --- Cancelling ---------------------------------------------------------------------------------


def test_cancelling_twice_answers_the_same(api, tier, left):
    booking = api.book(tier, 2).json()
    first = api.post({}, f"/{booking['id']}/cancellation")
    again = api.post(b"", f"/{booking['id']}/cancellation")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["status"] == "CANCELLED"
    assert first.json()["paymentStatus"] == "REFUNDED"
    assert left(tier) == 100


def test_a_declined_booking_cannot_be_cancelled(api, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    booking = api.book(tier).json()["booking"]
    response = api.post({}, f"/{booking['id']}/cancellation")
    assert problem(response) == (409, "not_cancellable")


def test_a_pending_booking_cannot_be_cancelled_yet(api, tier, settings):
    settings.PAYMENT_OUTAGE = True
    booking = api.book(tier).json()
    response = api.post({}, f"/{booking['id']}/cancellation")
    assert problem(response) == (409, "request_in_progress")
