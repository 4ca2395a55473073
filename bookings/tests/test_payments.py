"""The simulated gateway, gateways of both kinds, and gateways that misbehave."""

import asyncio
import threading
import time
import uuid
from decimal import Decimal

import pytest
from django.db import transaction

from bookings import payments
from bookings.gateways import named
from bookings.models import Booking, Refund
from bookings.payments import GatewayUnavailable, Outcome, SimulatedGateway
from bookings.placing import aplace
from bookings.steps import InLanes
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop
from ticketbook.tests.running import environment, free_port, python

simulated = SimulatedGateway()
KEYS = [uuid.UUID(int=n) for n in range(1000)]


def charge(key, *, time_limit=1):
    call = simulated.charge(key=key, amount=Decimal("10.00"), time_limit=time_limit)
    return event_loop.run(call)


def look_up(key):
    return event_loop.run(simulated.look_up(key=key, time_limit=1))


def share(outcomes, of):
    return outcomes.count(of) / len(outcomes)


def test_eighty_percent_succeed_unless_told_otherwise():
    assert share([charge(k) for k in KEYS], Outcome.SUCCEEDED) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("rate", "outcome"), [(1, Outcome.SUCCEEDED), (0, Outcome.DECLINED)])
def test_all_or_none_succeed(settings, rate, outcome):
    settings.PAYMENT_SUCCESS_RATE = rate
    assert {charge(k) for k in KEYS} == {outcome}


def test_a_key_gets_the_same_answer_for_ever():
    first = [charge(k) for k in KEYS]
    assert [charge(k) for k in KEYS] == first
    assert [look_up(k) for k in KEYS] == first


def test_some_charges_that_time_out_took_effect_and_some_did_not(settings):
    settings.PAYMENT_TIMEOUT_RATE = 1
    for key in KEYS:
        with pytest.raises(GatewayUnavailable):
            charge(key)
    found = [look_up(k) for k in KEYS]
    assert share(found, Outcome.NOT_FOUND) == pytest.approx(0.5, abs=0.05)
    assert share(found, Outcome.SUCCEEDED) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(("rate", "lost"), [(0, True), (1, False)])
def test_time_outs_before_or_after_the_charge_took_effect(settings, rate, lost):
    settings.PAYMENT_TIMEOUT_RATE, settings.PAYMENT_TIMEOUT_EFFECT_RATE = 1, rate
    assert all((look_up(k) is Outcome.NOT_FOUND) == lost for k in KEYS)


def test_an_outage_answers_nothing(settings):
    settings.PAYMENT_OUTAGE = True
    for call in (charge, look_up):
        with pytest.raises(GatewayUnavailable):
            call(KEYS[0])
    with pytest.raises(GatewayUnavailable):
        event_loop.run(
            simulated.refund(key=KEYS[0], charge_key=KEYS[1], amount=Decimal(1), time_limit=1)
        )


def test_a_call_takes_as_long_as_the_latency(settings):
    settings.PAYMENT_LATENCY_MS = 30
    start = time.monotonic()
    charge(KEYS[0])
    assert time.monotonic() - start >= 0.03


def test_a_call_never_outlasts_its_time_limit(settings):
    settings.PAYMENT_LATENCY_MS = 60_000
    start = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        charge(KEYS[0], time_limit=0.02)
    assert time.monotonic() - start < 5


def test_a_charge_is_over_before_its_hold_expires(settings):
    settings.PAYMENT_TIME_LIMIT_MS, settings.HOLD_SECONDS = 5000, 2
    assert payments.time_limit() == 1.6


@pytest.mark.django_db(transaction=True)
def test_no_payment_is_made_inside_a_transaction(ledger, ann, tier, book):
    booking = book(ann, tier)
    refund = Refund(booking=booking, amount=1)
    calls = [(payments.charge,), (payments.look_up,), (payments.refund, refund)]
    for call, *more in calls:
        with pytest.raises(RuntimeError), transaction.atomic():
            call(booking, *more)
    assert ledger.calls("charge") == 1


# --- Gateways of both kinds -------------------------------------------------------------------------


@pytest.fixture(params=["HttpGateway", "PlainGateway"])
def either_kind(request, ledger, settings):
    settings.PAYMENT_GATEWAY = f"bookings.tests.gateway.{request.param}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("either_kind", "both_modes")
def test_a_gateway_may_be_awaited_or_called(ledger, ann, tier, book):
    booking = book(ann, tier)
    assert booking.status == "CONFIRMED"
    assert payments.look_up(booking) is Outcome.SUCCEEDED
    payments.refund(booking, Refund(pk=uuid.uuid4(), amount=booking.total_price))
    assert ledger.refunded() == {str(booking.pk): booking.total_price}
    ledger.mode("outage")
    assert book(ann, tier).status == "PENDING"


class Sleeper:
    """A gateway that ignores its time limit, and counts the charges that it has begun."""

    begun = 0

    def charge(self, *, key, amount, time_limit):
        Sleeper.begun += 1
        time.sleep(1)
        return Outcome.SUCCEEDED


def test_a_charge_that_waits_too_long_for_a_thread_is_not_sent(settings, monkeypatch):
    """One thread, three charges of a second, a limit of 1.5: the third is never begun."""
    settings.PAYMENT_THREADS, settings.PAYMENT_TIME_LIMIT_MS = 1, 1500
    monkeypatch.setattr(payments, "GRACE", 10)  # the second one ends later than its limit
    payments._pool.cache_clear()
    monkeypatch.setattr(named, "gateway", lambda name: Sleeper())
    bookings = [Booking(pk=key, total_price=1) for key in KEYS[:3]]

    async def all_at_once():
        charges = [payments.acharge(booking) for booking in bookings]
        return await asyncio.gather(*charges, return_exceptions=True)

    try:
        first, second, third = event_loop.run(all_at_once())
    finally:
        payments._pool.cache_clear()
    assert (first, second) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    assert isinstance(third, GatewayUnavailable)
    assert Sleeper.begun == 2


def test_a_gateway_that_ignores_its_time_limit_is_not_waited_for(settings, monkeypatch):
    class Forgetful:
        async def charge(self, *, key, amount, time_limit):
            await asyncio.sleep(60)

    settings.PAYMENT_TIME_LIMIT_MS = 100
    monkeypatch.setattr(payments, "GRACE", 0.1)
    monkeypatch.setattr(named, "gateway", lambda name: Forgetful())
    start = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        payments.charge(Booking(pk=KEYS[0], total_price=1))
    assert time.monotonic() - start < 5


def test_the_latency_differs_from_key_to_key(settings):
    settings.PAYMENT_LATENCY_MS, settings.PAYMENT_LATENCY_SPREAD_MS = 30, 20

    def took(key):
        start = time.monotonic()
        charge(key)
        return time.monotonic() - start

    times = [took(key) for key in KEYS[:12]]
    assert all(time >= 0.01 for time in times)
    assert max(times) - min(times) > 0.01


@pytest.mark.django_db(transaction=True)
def test_a_hundred_charges_in_flight_hold_no_thread(ann, tier, settings):
    """Each charge takes half a second. With a thread for each there would be a hundred threads."""
    settings.PAYMENT_SUCCESS_RATE, settings.PAYMENT_LATENCY_MS = 1, 500
    together = InLanes()

    async def all_at_once():
        wishes = [wish(ann, TicketTierFactory.build(pk=tier.pk)) for _ in range(100)]
        return await asyncio.gather(*(aplace(one, together) for one in wishes))

    before, start = threading.active_count(), time.monotonic()
    placed = event_loop.run(all_at_once())
    assert {p.booking.status for p in placed} == {"CONFIRMED"}
    assert time.monotonic() - start < 5
    assert threading.active_count() <= before + 20


def odd_gateway(charge):
    return type("Odd", (), {"charge": staticmethod(charge)})


async def cancels(**asked):
    raise asyncio.CancelledError


async def exits(**asked):
    raise SystemExit


async def fails(**asked):
    raise ZeroDivisionError


async def says_it_in_words(**asked):
    return "succeeded"


async def knows_nothing(**asked):
    return Outcome.NOT_FOUND


def exits_on_a_thread(**asked):
    raise SystemExit


def forgets_to_await(**asked):
    return {}


ODD = [cancels, exits, fails, says_it_in_words, knows_nothing, exits_on_a_thread, forgets_to_await]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_modes")
@pytest.mark.parametrize("charge", ODD, ids=lambda charge: charge.__name__)
def test_a_gateway_that_misbehaves_counts_as_no_answer(ann, tier, book, monkeypatch, charge):
    """It ends neither the event loop nor the process."""
    monkeypatch.setattr(named, "gateway", lambda name: odd_gateway(charge))
    booking = book(ann, tier)
    assert (booking.status, booking.outcome_unknown) == ("PENDING", True)
    monkeypatch.undo()
    assert book(ann, TicketTierFactory()).status in {"CONFIRMED", "FAILED"}


# What a job does: it asks a gateway that keeps connections, and the process ends.
ASKS_AND_ENDS = """
import uuid
import django
django.setup()
from bookings import payments
from bookings.models import Booking
try:
    payments.look_up(Booking(pk=uuid.uuid4(), gateway="hosted", total_price=1))
except payments.GatewayUnavailable:
    print("no answer")
"""


def test_a_process_that_ends_closes_its_connections():
    env = environment(DJANGO_SETTINGS_MODULE="ticketbook.settings", HOSTED_PORT=free_port())
    worker = python("-c", ASKS_AND_ENDS, env=env)
    assert worker.communicate(timeout=40) == ("no answer\n", "")
