"""Booking requests that the hot API answers itself, and those that it leaves to Django."""

import asyncio
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.utils import timezone
from knox.models import AuthToken

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import hot_api, steps, tier_transaction
from bookings.audit import audit
from bookings.models import Booking
from bookings.tests.api_client import URL, book_at, by_django, token_of
from bookings.tests.jam import Jam, until
from bookings.tests.wishing import hold, wish
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop
from ticketbook.asgi import application
from ticketbook.tests.asgi import Exchange, ask, front_of, scope_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("our_host", "every_payment_succeeds"),
]


def test_a_plain_booking_needs_no_thread(hot, ann, tier):
    answer = book_at(application, tier, token_of(ann))
    assert answer.status_code == 201
    assert hot == {True: 1}


def test_plain_http_is_redirected_where_tls_is_asked_for(hot, ann, tier, settings):
    token = token_of(ann)
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 3600
    # Django's middleware reads the settings once, so the changed ones need a Django of their own.
    django_with_tls = front_of(get_wsgi_application(), endpoints=application.endpoints)
    assert book_at(django_with_tls, tier, token).status_code == 301
    assert hot == {False: 1}
    secure = [("X-Forwarded-Proto", "https")]
    answer = book_at(django_with_tls, tier, token, headers=secure)
    assert answer.status_code == 201
    assert answer["Strict-Transport-Security"] == "max-age=3600"
    assert hot == {False: 1, True: 1}


def without_id(answer):
    """The problem, without the id of its request, which is also in the header."""
    body = answer.json()
    assert body.pop("requestId") == answer["X-Request-ID"]
    return body


def test_a_bug_of_ours_gets_the_same_answer_both_ways(hot, ann, tier, monkeypatch):
    monkeypatch.setattr(tier_transaction, "refusal_of", lambda *facts: 1 / 0)
    token = token_of(ann)
    ours, djangos = (book_at(front, tier, token) for front in (application, by_django))
    assert ours.status_code == djangos.status_code == 500
    assert without_id(ours) == without_id(djangos)
    assert ours.json()["code"] == "server_error"


def test_a_customer_whose_row_is_locked_gets_busy_both_ways(hot, ann, tier, impatient):
    impatient("100ms")
    token = token_of(ann)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=ann.pk)
        answers = [book_at(front, tier, token) for front in (application, by_django)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert without_id(answers[0]) == without_id(answers[1])
    assert answers[0]["Retry-After"] == answers[1]["Retry-After"] == "1"


def test_a_dead_token_is_refused_at_its_next_use(hot, ann, tier):
    token = token_of(ann)
    assert book_at(application, tier, token).status_code == 201
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert book_at(application, tier, token).status_code == 401
    AuthToken.objects.update(expiry=None)
    ann.is_active = False
    ann.save()
    assert book_at(application, tier, token).json()["detail"] == "User inactive or deleted."
    ann.is_active = True
    ann.save()
    AuthToken.objects.all().delete()
    assert book_at(application, tier, token).status_code == 401
    assert Booking.objects.count() == 1


def test_a_request_with_an_unknown_token_takes_neither_lock_nor_thread(hot, tier, batches):
    for body in (b"{", json.dumps({"ticketTierId": str(tier.pk), "quantity": 1}).encode()):
        headers = [("Authorization", f"Token {uuid.uuid4().hex * 2}")]
        answer = ask(application, "POST", URL, body, headers=headers)
        assert (answer.status_code, answer["Www-Authenticate"]) == (401, "Token")
    assert hot == {True: 2}
    assert batches == []


def test_made_up_hosts_take_no_room(hot):
    for number in range(300):
        ask(application, "POST", URL, b"{}", headers=[("Host", f"{number}.example")])
    assert hot_api.is_our_host.cache_info().currsize <= 100
    assert not hot_api.is_our_host("testserver" + "x" * 1000, ("*",))


def test_a_silent_gateway_delays_few_refusals(settings, hot, monkeypatch):
    """Each tier has an expired hold. The gateway is asked about four at a time; others do not wait."""
    settings.PAYMENT_LATENCY_MS, settings.PAYMENT_OUTAGE = 1500, True
    tiers, bob = [TicketTierFactory(total_quantity=1) for _ in range(12)], UserFactory()
    long_ago = timezone.now() - timedelta(minutes=2)
    for tier in tiers:
        hold(wish(UserFactory(), tier, now=long_ago))
    token = token_of(bob)
    start = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda tier: book_at(application, tier, token), tiers))
    assert {answer.json()["code"] for answer in answers} == {"insufficient_tickets"}
    assert time.monotonic() - start < 4  # asking about all twelve, four at a time, takes 4.5


# --- A client that goes away --------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the batch", "during it", "after it"])
def test_a_booking_whose_client_is_gone_ends_settled(ann, tier, monkeypatch, moment):
    """gunicorn cancels the task of a connection whose client has gone."""
    token = token_of(ann)
    jam = Jam(tier) if moment == "during it" else None
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    headers = [("Host", "testserver"), ("Authorization", f"Token {token}")]
    exchange = Exchange(scope_of("POST", URL, headers), json.dumps(body).encode())

    async def start():
        task = asyncio.create_task(exchange.run(application))
        if moment == "before the batch":
            await asyncio.sleep(0)
        return task

    def step(reached):
        real = steps.InLanes.charge

        async def charge(self, booking):
            reached.append(booking)
            await asyncio.sleep(0.2)
            return await real(self, booking)

        monkeypatch.setattr(steps.InLanes, "charge", charge)

    reached = []
    step(reached)
    task = event_loop.run(start())
    if moment == "during it":
        until(lambda: len(jam.queue) == 1)
    elif moment == "after it":
        until(lambda: reached)
    event_loop.event_loop().call_soon_threadsafe(task.cancel)
    until(task.done)
    if jam:
        jam.clear()
    until(lambda: not application.tasks)
    statuses = set(Booking.objects.filter(user=ann).values_list("status", flat=True))
    assert statuses == {"CONFIRMED"}
    assert exchange.messages == []
    assert audit() == []
