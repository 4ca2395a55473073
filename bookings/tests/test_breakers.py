"""A gateway that fails gets no new bookings, before a ticket is held; and gets them again by itself."""

import logging
from collections import Counter

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import breakers, payments
from bookings.audit import audit
from bookings.breakers import Breaker
from bookings.cancelling import cancel
from bookings.errors import PaymentsPaused
from bookings.gateways.base import GatewayUnavailable, Outcome, RefundRefused
from bookings.models import Booking, GatewayPause
from bookings.tests.api_client import Api
from bookings.tests.racing import race
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

GATEWAY = "simulated"


@pytest.fixture(autouse=True)
def settings_of_breakers(settings):
    settings.PAYMENT_BREAKER_FAILURES = 3
    settings.PAYMENT_BREAKER_SECONDS = 3600  # until a test lets it rest no longer
    settings.PAYMENT_SUCCESS_RATE = 1


@pytest.fixture
def outage(settings):
    """The gateway answers nothing, until `end()`."""
    settings.PAYMENT_OUTAGE = True

    class Outage:
        @staticmethod
        def end():
            settings.PAYMENT_OUTAGE = False

    return Outage


def rest_is_over():
    breaker = breakers.of(GATEWAY)
    breaker._rests_until = breaker._next_probe = 0.0


def open_it(book, tier):
    for _ in range(3):
        assert book(UserFactory(), tier).status == "PENDING"
    assert breakers.of(GATEWAY).is_open


def test_after_some_failures_nobody_holds_a_ticket(both_modes, outage, tier, book, left):
    open_it(book, tier)
    with pytest.raises(PaymentsPaused):
        book(UserFactory(), tier)
    assert Booking.objects.count() == 3
    assert left(tier) == 97
    assert audit() == []


def test_the_answer_is_busy_and_says_when_to_come_back(both_ways, outage, tier, book):
    open_it(book, tier)
    response = Api(UserFactory()).book(tier)
    assert (response.status_code, response.json()["code"]) == (503, "busy")
    assert 1 <= int(response["Retry-After"]) <= 3600


def test_a_page_says_so_too(outage, tier, book, client, ann):
    open_it(book, tier)
    client.force_login(ann)
    form = {
        "tier": str(tier.pk),
        "quantity": "1",
        "idempotency_key": str(wish(ann, tier).idempotency_key),
    }
    response = client.post("/bookings/", form)
    assert response.status_code in {400, 409, 503}
    assert not Booking.objects.filter(user=ann).exists()


def test_a_booking_that_was_made_before_is_found_by_its_key(both_modes, outage, ann, tier, book):
    key = wish(ann, tier).idempotency_key
    outage.end()
    first = book(ann, tier, key=key)
    for _ in range(3):
        breakers.of(GATEWAY).count(failed=True)
    assert book(ann, tier, key=key).pk == first.pk


def test_free_tickets_need_no_gateway(outage, tier, book):
    open_it(book, tier)
    assert book(UserFactory(), TicketTierFactory(price=0)).status == "CONFIRMED"


def test_one_booking_is_the_probe_and_closes_it(outage, tier, book, caplog):
    open_it(book, tier)
    outage.end()
    rest_is_over()
    with caplog.at_level(logging.WARNING, "bookings.breakers"):
        assert book(UserFactory(), tier).status == "CONFIRMED"
    assert not breakers.of(GATEWAY).is_open
    assert "answers again" in caplog.text
    assert book(UserFactory(), tier).status == "CONFIRMED"


def test_a_crowd_sends_one_probe(outage, tier, book):
    open_it(book, tier)
    rest_is_over()
    buyers = UserFactory.create_batch(6)
    assert race(lambda i: book(buyers[i], tier), 6) == {Booking: 1, PaymentsPaused: 5}
    with pytest.raises(PaymentsPaused):  # the probe failed, so it rests again
        book(UserFactory(), tier)


def test_refunds_and_look_ups_are_never_refused_and_close_it_too(tier, book, outage, ann):
    outage.end()
    paid = book(ann, tier)
    for _ in range(3):
        breakers.of(GATEWAY).count(failed=True)
    assert payments.look_up(paid) is Outcome.SUCCEEDED
    assert breakers.of(GATEWAY).is_open  # it has only begun to rest
    cancel(paid, now=timezone.now())
    paid.refresh_from_db()
    assert paid.payment_status == "REFUNDED"
    rest_is_over()
    payments.look_up(paid)
    assert not breakers.of(GATEWAY).is_open


def test_a_decline_is_no_failure(settings, tier, book):
    settings.PAYMENT_SUCCESS_RATE = 0
    statuses = Counter(book(UserFactory(), tier).status for _ in range(6))
    assert statuses == {"FAILED": 6}
    assert not breakers.of(GATEWAY).is_open


def test_zero_switches_it_off(settings, outage, tier, book):
    settings.PAYMENT_BREAKER_FAILURES = 0
    for _ in range(8):
        book(UserFactory(), tier)
    assert not breakers.of(GATEWAY).is_open


def test_each_gateway_has_its_own():
    for _ in range(3):
        breakers.of("one").count(failed=True)
    assert (breakers.of("one").is_open, breakers.of("other").is_open) == (True, False)


# --- What counts ------------------------------------------------------------------------------------------


def called(breaker, *, fails=None):
    try:
        with breaker.watching():
            if fails is not None:
                raise fails
    except Exception as exc:
        return type(exc)
    return None


def test_one_slow_answer_opens_nothing_and_several_do(settings):
    breaker = Breaker(GATEWAY)
    settings.PAYMENT_BREAKER_SLOW_MS = 0  # every answer is slow
    called(breaker)
    settings.PAYMENT_BREAKER_SLOW_MS = 60_000
    for _ in range(9):
        called(breaker)
    assert not breaker.is_open
    settings.PAYMENT_BREAKER_SLOW_MS = 0
    for _ in range(3):
        called(breaker)
    assert breaker.is_open


def test_failures_among_many_successes_open_nothing():
    breaker = Breaker(GATEWAY)
    for n in range(60):
        called(breaker, fails=GatewayUnavailable() if n % 4 == 0 else None)
    assert not breaker.is_open


def test_half_of_them_failing_opens_it():
    breaker = Breaker(GATEWAY)
    for n in range(6):
        called(breaker, fails=GatewayUnavailable() if n % 2 == 0 else None)
    assert breaker.is_open


def test_a_refund_that_the_gateway_refuses_is_an_answer():
    breaker = Breaker(GATEWAY)
    for _ in range(6):
        assert called(breaker, fails=RefundRefused("no")) is RefundRefused
    assert not breaker.is_open


def test_answers_to_calls_from_before_do_not_close_it():
    breaker = Breaker(GATEWAY)
    for _ in range(3):
        called(breaker, fails=GatewayUnavailable())
    called(breaker)
    assert breaker.is_open


# --- The back office --------------------------------------------------------------------------------------


def test_the_first_page_names_the_gateway_until_it_answers(outage, tier, book, client):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    open_it(book, tier)
    wait_until(GatewayPause.objects.exists)
    page = client.get("/admin/").content.decode()
    assert "The payment gateway (simulated payment) has failed, or been too slow," in page
    assert "Nothing needs you now" not in page
    outage.end()
    rest_is_over()
    book(UserFactory(), tier)
    wait_until(lambda: not GatewayPause.objects.exists())
    assert "has failed" not in client.get("/admin/").content.decode()


def test_it_is_written_on_a_change_only(outage, tier, book):
    open_it(book, tier)
    wait_until(GatewayPause.objects.exists)
    seen = GatewayPause.objects.get().seen_at
    for _ in range(3):
        with pytest.raises(PaymentsPaused):
            book(UserFactory(), tier)
    assert GatewayPause.objects.get().seen_at == seen
