"""Booking on the page, through the front: no thread waits while the gateway thinks."""

import asyncio
import re
import time
import uuid
from contextlib import closing
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client

from accounts.tests.factories import UserFactory
from bookings import lanes
from bookings.audit import audit
from bookings.models import Booking
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop
from ticketbook.tests.asgi import Exchange, ask, only_django, scope_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


@pytest.fixture
def one_thread(settings):
    """A front with a single thread for the whole site."""
    settings.ALLOWED_HOSTS, settings.PAYMENT_SUCCESS_RATE = ["testserver"], 1
    return only_django(threads=1)


def session_of(user):
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}; csrftoken={'a' * 32}"


def form(tier, quantity=1, key=None):
    fields = {"tier": tier.pk, "quantity": quantity, "idempotency_key": key or uuid.uuid4()}
    return urlencode(
        {**fields, "csrfmiddlewaretoken": "a" * 32, "concert": tier.concert_id}
    ).encode()


def headers_of(user):
    return [("Cookie", session_of(user)), ("Content-Type", "application/x-www-form-urlencoded")]


def book(front, user, tier, quantity=1, key=None):
    return ask(front, "POST", "/bookings/", form(tier, quantity, key), headers=headers_of(user))


def test_a_booking_leads_to_its_page(one_thread, ann, tier):
    answer = book(one_thread, ann, tier, 2)
    booking = Booking.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/bookings/{booking.pk}/")
    assert (booking.status, booking.quantity) == ("CONFIRMED", 2)
    assert answer["X-Frame-Options"] == "DENY"


def test_a_form_sent_twice_says_so(one_thread, ann, tier):
    key, headers = uuid.uuid4(), headers_of(ann)
    first, again = (
        ask(one_thread, "POST", "/bookings/", form(tier, key=key), headers=headers)
        for _ in range(2)
    )
    assert first["Location"] == again["Location"]
    cookies = [*headers, ("Cookie", again["Set-Cookie"].partition(";")[0])]
    assert (
        b"You sent this twice" in ask(one_thread, "GET", again["Location"], headers=cookies).content
    )
    assert Booking.objects.count() == 1


def test_a_refusal_is_shown_beside_the_form(one_thread, ann):
    answer = book(one_thread, ann, TicketTierFactory(total_quantity=1), 2)
    assert answer.status_code == 409
    assert b"Not enough tickets are left" in answer.content
    assert re.search(rb'name="idempotency_key" value="[0-9a-f-]{36}"', answer.content)


def test_a_declined_payment_leads_to_its_page(one_thread, ann, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    answer = book(one_thread, ann, tier)
    assert (answer.status_code, answer["Location"]) == (
        303,
        f"/bookings/{Booking.objects.get().pk}/",
    )


def test_a_price_that_has_changed_is_asked_about(one_thread, ann, tier):
    body = form(tier) + f"&seen_price_{tier.pk.hex}=9.00&seen_kind_{tier.pk.hex}=GA".encode()
    answer = ask(one_thread, "POST", "/bookings/", body, headers=headers_of(ann))
    assert answer.status_code == 409
    assert b"The price of General admission went from $9.00 to $10.00." in answer.content
    assert not Booking.objects.exists()


def test_a_tier_that_is_gone_is_not_found(one_thread, ann):
    tier = TicketTierFactory(concert__status="DRAFT")
    assert book(one_thread, ann, tier).status_code == 404


def test_a_page_without_a_csrf_token_books_nothing(one_thread, ann, tier):
    body = form(tier).replace(
        b"csrfmiddlewaretoken=" + b"a" * 32, b"csrfmiddlewaretoken=" + b"b" * 32
    )
    answer = ask(one_thread, "POST", "/bookings/", body, headers=headers_of(ann))
    assert answer.status_code == 403
    assert Booking.objects.count() == 0


def holds():
    with closing(connection):
        return Booking.objects.filter(status="PENDING").count()


def test_ten_bookings_wait_for_the_gateway_on_one_thread(one_thread, tier, settings):
    """The site answers another request meanwhile."""
    if not settings.BOOKING_LANES:
        pytest.skip("without lanes the thread makes the booking itself")
    settings.PAYMENT_LATENCY_MS = 2000
    headers = [headers_of(user) for user in UserFactory.create_batch(10)]

    async def all_at_once():
        def post(its_headers):
            scope = scope_of("POST", "/bookings/", [("Host", "testserver"), *its_headers])
            return asyncio.create_task(Exchange(scope, form(tier)).run(one_thread))

        tasks = [post(its_headers) for its_headers in headers]
        while await asyncio.to_thread(holds) < 10:
            await asyncio.sleep(0.02)
        page = scope_of("GET", "/accounts/login/", [("Host", "testserver")])
        ready = await Exchange(page).run(one_thread)
        return ready, any(task.done() for task in tasks), await asyncio.gather(*tasks)

    start = time.monotonic()
    ready, too_late, answers = event_loop.run(all_at_once())
    assert time.monotonic() - start < 15  # one after the other they take 20 seconds
    assert (ready.status_code, too_late) == (200, False)
    assert [answer.status_code for answer in answers] == [303] * 10
    assert Booking.objects.filter(status="CONFIRMED").count() == 10
    assert audit() == []


def test_a_client_that_hangs_up_meanwhile_has_its_booking(one_thread, ann, tier, settings):
    if not settings.BOOKING_LANES:
        pytest.skip("without lanes the thread makes the booking itself")
    settings.PAYMENT_LATENCY_MS = 1000
    headers = [("Host", "testserver"), *headers_of(ann)]

    async def hang_up():
        exchange = Exchange(scope_of("POST", "/bookings/", headers), form(tier))
        task = asyncio.create_task(exchange.run(one_thread))
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.02)
        task.cancel()
        await one_thread.end()

    event_loop.run(hang_up())
    assert Booking.objects.get().status == "CONFIRMED"


def test_a_full_lane_asks_to_try_again(one_thread, ann, tier, settings, monkeypatch):
    if not settings.BOOKING_LANES:
        pytest.skip("without lanes nothing queues")
    monkeypatch.setattr(lanes, "MAX_QUEUE", 0)
    answer = book(one_thread, ann, tier)
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert b"Too many people want this at once" in answer.content
    assert not Booking.objects.exists()
