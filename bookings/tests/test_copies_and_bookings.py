"""Copies of the catalogue never decide a booking."""

import http.client
import re
from contextlib import closing

import pytest
from django.test import Client
from django.utils import timezone

from bookings.errors import InsufficientTickets
from bookings.models import Booking
from bookings.tests.site import Site, at_once
from concerts.tests.factories import TicketTierFactory
from demo import staging

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds", "clock"),
]


def shown(client, tier):
    url = f"/api/v1/concerts/{tier.concert_id}/availability"
    return client.get(url).json()["tiers"][0]["availableQuantity"]


@pytest.mark.usefixtures("both_stores", "both_modes")
def test_a_booking_decides_from_the_database_whatever_a_copy_says(client, busy, ann, bob, book):
    tier = TicketTierFactory(total_quantity=3)
    assert shown(client, tier) == 3
    book(bob, tier, 3)
    assert shown(client, tier) == 3, "the copy is out of date"
    with pytest.raises(InsufficientTickets) as refusal:
        book(ann, tier)
    assert refusal.value.facts["availableQuantity"] == 0
    client.force_login(ann)
    page = client.post("/bookings/", {"tier": tier.pk, "quantity": 1, "idempotency_key": tier.pk})
    assert page.status_code == 409
    assert "It has just sold out" in page.content.decode()


@pytest.mark.usefixtures("both_stores", "both_modes")
def test_a_copy_that_says_sold_out_sells_what_came_back(client, busy, ann, bob, book):
    tier = TicketTierFactory(total_quantity=1)
    booking = book(bob, tier)
    assert shown(client, tier) == 0
    client.force_login(bob)
    client.post(f"/bookings/{booking.pk}/cancellation/")
    assert shown(client, tier) == 0, "the copy is out of date"
    assert book(ann, tier).status == "CONFIRMED"


def test_on_a_quiet_site_ann_sees_her_booking_in_the_number_at_once(client, ann, tier, book):
    for left in (99, 98, 97):
        book(ann, tier)
        assert shown(client, tier) == left


@pytest.mark.usefixtures("both_stores")
def test_the_form_of_a_copy_books_like_any_other(busy, ann, tier):
    for _ in range(2):
        strict = Client(enforce_csrf_checks=True)
        page = strict.get(f"/concerts/{tier.concert_id}/").content.decode()
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        answer = strict.post("/bookings/", {**fields, "tier": tier.pk, "quantity": 1})
        assert (answer.status_code, answer.url[:16]) == (303, "/accounts/login/")
        strict.force_login(ann)
        assert (
            strict.post("/bookings/", {**fields, "tier": tier.pk, "quantity": 1}).status_code == 303
        )
    assert Booking.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_demos_concerts_are_listed_at_once(client, busy):
    assert client.get("/api/v1/concerts").json() == []
    staging.load_demo(now=timezone.now())
    assert client.get("/api/v1/concerts").json() != []


@pytest.mark.django_db(transaction=True)
def test_a_site_whose_cache_server_is_killed_and_restarted_keeps_serving(valkey, tier):
    """Sixteen readers of two server processes notice nothing."""
    site = Site(
        CACHE_URL=valkey.connection_url, PAYMENT_GATEWAY="bookings.payments.SimulatedGateway"
    )
    urls = ["/api/v1/concerts", f"/api/v1/concerts/{tier.concert_id}", "/", "/concerts/"]

    def read(i):
        seen = set()
        for n in range(60):
            if (i, n) == (0, 20):
                valkey.terminate()
            if (i, n) == (0, 40):
                valkey.start()
            method = "HEAD" if n % 7 == 0 else "GET"
            with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)) as line:
                line.request(method, urls[(i + n) % 4])
                answer = line.getresponse()
                seen.add((method, answer.status, bool(answer.read()), "ETag" in answer.headers))
        return seen

    try:
        site.wait_until_ready()
        seen = set.union(*at_once(read, 16))
        assert seen == {("GET", 200, True, True), ("HEAD", 200, False, True)}
    finally:
        site.stop()
