"""Every address of the site is tried with a replica that is wrong. Only those listed here read from it."""

import uuid
from functools import cache

import pytest
from django.contrib import admin
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver

from accounts.tests.factories import UserFactory
from backoffice.verbs.stock import AddTickets
from bookings.models import Booking
from bookings.tests.api_client import Api
from bookings.tests.pages import form_of, post
from bookings.tests.wishing import hold
from bookings.tests.wishing import wish as wish_of
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory
from fuzz.doors import Door, real_values, routes
from ticketbook.replica.reading import COOKIE
from ticketbook.replica.router import APPS
from ticketbook.tests.running import wait_until
from tickets.codes import new_code
from tickets.models import Ticket

pytestmark = pytest.mark.django_db(transaction=True)

READ_THERE = {
    *("/", "/concerts/", "/concerts/<id:concert_id>/", "/concerts/<id:concert_id>/left/"),
    *("/api/v1/concerts", "/api/v1/concerts/<id:concert_id>"),
    *("/api/v1/concerts/<id:concert_id>/availability", "/admin/", "/admin/sells-now/"),
}
# And the lists of these apps.
READ_THERE |= {
    f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    for model in admin.site._registry
    if model._meta.app_label in APPS
}


@pytest.fixture
def ann():
    return UserFactory(name="Ann")


@pytest.fixture
def tier():
    return TicketTierFactory(concert__name="Old name", total_quantity=12)


@pytest.fixture
def ticket(ann, tier):
    booking = hold(wish_of(ann, tier, 2)).booking
    paid = {"status": "CONFIRMED", "payment_status": "SUCCESS", "fulfilled_at": booking.created_at}
    Booking.objects.update(**paid)
    return Ticket.objects.create(booking=booking, number=1, code=new_code())


@pytest.fixture
def wrong(ticket, tier, replica):
    """The site reads from a wrong replica: it has an old name, and ten tickets where none are left."""
    replica.catch_up()
    url = f"/api/v1/concerts/{tier.concert_id}/availability"
    wait_until(lambda: asked(lambda: Client().get(url))[0])
    replica.hold()
    Concert.objects.update(name="New name")
    TicketTier.objects.update(available_quantity=0, kept_back=10)
    assert Client().get(url).json()["tiers"][0]["availableQuantity"] == 10
    return replica


def asked(ask):
    """Whether something was asked of the replica, and the answer."""
    with CaptureQueriesContext(connections["replica"]) as queries:
        answer = ask()
    return bool(queries.captured_queries), answer


def tried():
    """Every address but some of the admin's: of tables that are never read there, only the lists."""
    for route in routes(get_resolver().url_patterns, "/"):
        app, _, rest = route.removeprefix("/admin/").partition("/")
        is_list = rest.count("/") == 1
        is_known = rest.endswith(("history/", "/<path:object_id>/")) or app not in APPS
        if not (route.startswith("/admin/") and rest and is_known and not is_list):
            yield route


def log_in_for(route, client, ann, staff):
    if route.startswith("/concerts/"):
        client.logout()  # the page of a concert is read there for strangers
    else:
        client.force_login(staff if route.startswith("/admin/") else ann)


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_pages_that_may_be_behind_read_from_the_replica(wrong, client, ann, method):
    staff = UserFactory(is_staff=True, is_superuser=True)
    client.raise_request_exception = False
    found, shown, values_of = set(), set(), cache(real_values)
    for route in tried():
        log_in_for(route, client, ann, staff)
        client.cookies.pop(COOKIE, None)
        path = Door(route, values_of(route.rpartition("<")[0])).path().decode()
        did, answer = asked(lambda path=path: getattr(client, method)(path))
        assert answer.status_code != 500, path
        if did:
            found.add(route)
        elif b"Old name" in answer.content:
            shown.add(route)
    assert found == (READ_THERE if method == "get" else set())
    assert shown == set()


def test_a_booking_is_refused_whatever_the_replica_says(wrong, ann, tier):
    did, answer = asked(lambda: Api(ann).book(tier))
    assert (did, answer.status_code) == (False, 409)
    assert answer.json()["availableQuantity"] == 0


def test_a_form_drawn_from_the_replica_books_by_the_primary(wrong, ann, tier):
    stranger = Client()
    form = form_of(stranger, tier)
    page = stranger.get(f"/concerts/{tier.concert_id}/").content.decode()
    assert "Old name" in page
    did, answer = asked(lambda: post(stranger, form | {"name": "Eve", "email": "eve@example.com"}))
    assert (did, answer.status_code) == (False, 409)
    assert "New name" in answer.content.decode()
    assert Booking.objects.count() == 1


def test_a_customer_is_told_of_their_booking_by_the_primary(wrong, ann, ticket):
    client = Client()
    client.force_login(ann)
    url = f"/bookings/{ticket.booking_id}/"
    assert client.post(f"{url}cancellation/", {"number": ["1", "2"]}).status_code < 500
    for each in (url, "/bookings/"):
        did, answer = asked(lambda each=each: client.get(each))
        assert not did
        assert "New name" in answer.content.decode()


def test_a_verb_of_staff_goes_by_the_primary(wrong, tier):
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    verb = AddTickets()
    did, page = asked(lambda: client.get(verb.address(tier)))
    assert not did
    assert "0 are free, 10 are kept back" in page.content.decode()
    form = {"once": uuid.uuid4(), "tickets": -3, "reason": "A smaller hall"}
    did, answer = asked(lambda: client.post(verb.address(tier), form))
    assert (did, answer.status_code) == (False, 409)
