"""Races over HTTP against several server processes, and servers that are killed."""

import http.client
import json
import signal
import uuid
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import Booking
from bookings.tests.leftovers import resolve_all
from bookings.tests.site import Site, at_once, tokens
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(
    params=[("on", False), ("off", False), ("on", True), ("off", True)],
    ids=["front, lanes", "front, plain", "threads, lanes", "threads, plain"],
)
def site(request, ledger):
    lanes, by_thread = request.param
    site = Site(BOOKING_LANES=lanes)
    site.by_thread = by_thread
    try:
        yield site.wait_until_ready()
    finally:
        site.stop()


@pytest.fixture
def one_site(ledger):
    site = Site()
    try:
        yield site.wait_until_ready()
    finally:
        site.stop()


def test_sixty_four_buyers_race_for_ten_tickets_over_http(site, ledger, left):
    tier, keys = TicketTierFactory(total_quantity=10), tokens(UserFactory.create_batch(64))

    answers = at_once(lambda i: site.book(keys[i], tier), 64)

    assert Counter(status for status, _, _ in answers) == {201: 10, 409: 54}
    codes = Counter(body["code"] for status, _, body in answers if status == 409)
    assert codes == {"insufficient_tickets": 54}
    assert left(tier) == 0
    assert len(ledger.kept()) == 10
    assert audit() == []


def test_fifty_requests_with_one_key_over_http(site, ledger, ann, bob, tier, left):
    (token, bobs_token), key = tokens([ann, bob]), uuid.uuid4()

    answers = at_once(lambda i: site.book(token, tier, key), 50)

    for status, headers, body in answers:
        if status == 409:
            assert body["code"] == "request_in_progress"
            assert headers["Retry-After"] == "1"
        else:
            assert status == 201
    firsts = [h for status, h, _ in answers if status == 201 and "Idempotent-Replayed" not in h]
    assert len(firsts) == 1
    assert ledger.calls("charge") == 1
    assert left(tier) == 99
    assert site.book(bobs_token, tier, key)[0] == 201
    assert left(tier) == 98
    assert len(ledger.kept()) == 2


def test_fifty_requests_with_one_key_that_is_declined(site, ledger, ann, tier, left):
    (token,), key = tokens([ann]), uuid.uuid4()
    ledger.mode("decline")
    answers = at_once(lambda i: site.book(token, tier, key), 50)
    ledger.mode("approve")
    answers.append(site.book(token, tier, key))
    codes = {body["code"] for _, _, body in answers}
    assert codes <= {"payment_declined", "request_in_progress"}
    assert answers[-1][0] == 402
    assert answers[-1][1]["Idempotent-Replayed"] == "true"
    assert ledger.calls("charge") == 1
    assert left(tier) == 100


def test_servers_killed_in_the_middle_lose_nothing(site, ledger, left):
    """All worker processes are killed while 32 people book. Then the resolver settles what they left."""
    tier, keys = TicketTierFactory(total_quantity=1000), tokens(UserFactory.create_batch(32))
    now = timezone.now()

    def book_and_book(i):
        answered = []
        for n in range(6):
            if (i, n) == (0, 2):
                for worker in site.workers():
                    worker.send_signal(signal.SIGKILL)
            try:
                status, _, body = site.book(keys[i], tier)
            except (OSError, http.client.HTTPException):
                continue
            if status == 201:
                answered.append(body["id"])
        return answered

    promised = {uuid.UUID(pk) for pks in at_once(book_and_book, 32) for pk in pks}
    assert promised
    assert audit() == []
    resolve_all(now=now + timedelta(minutes=10))

    confirmed = set(Booking.objects.filter(status="CONFIRMED").values_list("pk", flat=True))
    assert promised <= confirmed
    assert {uuid.UUID(key) for key in ledger.kept()} == confirmed
    assert left(tier) == 1000 - len(confirmed)
    assert audit() == []


def test_a_thread_keeps_its_connection(one_site):
    """A new connection costs more time than a booking."""

    def sessions():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
            )
            return cursor.fetchone()[0]

    before = sessions()
    for _ in range(200):
        assert one_site.request("GET", "/readyz")[0] == 200
    assert sessions() - before <= 2 * 8  # processes and threads


def test_a_body_may_come_in_chunks(one_site, ann, tier):
    (token,) = tokens([ann])
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    with closing(http.client.HTTPConnection("127.0.0.1", one_site.port, timeout=30)) as http_:
        http_.request(
            "POST",
            "/api/v1/bookings",
            iter([json.dumps(body)[:20].encode(), json.dumps(body)[20:].encode()]),
            {"Authorization": f"Token {token}", "Transfer-Encoding": "chunked"},
            encode_chunked=True,
        )
        assert http_.getresponse().status == 201


def test_a_large_body_is_refused_with_an_answer(one_site, ann):
    (token,) = tokens([ann])
    status, _, body = one_site.request(
        "POST", "/api/v1/bookings", "x" * 5_000_000, Authorization=f"Token {token}"
    )
    assert (status, body["code"]) == (413, "too_large")
