"""The simulated gateway, and the promise that no call is made under a lock."""

import time
import uuid
from decimal import Decimal

import pytest
from django.db import transaction

from bookings import payments
from bookings.payments import GatewayUnavailable, Outcome, SimulatedGateway

gateway = SimulatedGateway()
KEYS = [uuid.UUID(int=n) for n in range(1000)]


def charge(key):
    return gateway.charge(key=key, amount=Decimal("10.00"), time_limit=1)


def look_up(key):
    return gateway.look_up(key=key, time_limit=1)


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


def test_of_the_time_outs_some_took_effect_and_some_did_not(settings):
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
        gateway.refund(key=KEYS[0], charge_key=KEYS[1], amount=Decimal(1), time_limit=1)


def test_a_call_takes_as_long_as_the_latency(settings):
    settings.PAYMENT_LATENCY_MS = 30
    start = time.monotonic()
    charge(KEYS[0])
    assert time.monotonic() - start >= 0.03


def test_a_call_never_outlasts_its_time_limit(settings):
    settings.PAYMENT_LATENCY_MS = 60_000
    start = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        gateway.charge(key=KEYS[0], amount=Decimal(1), time_limit=0.02)
    assert time.monotonic() - start < 5


def test_a_charge_is_over_before_its_hold_expires(settings):
    settings.PAYMENT_TIME_LIMIT_MS, settings.HOLD_SECONDS = 5000, 2
    assert payments.time_limit() == 1.6


@pytest.mark.django_db(transaction=True)
def test_no_payment_is_made_inside_a_transaction(ledger, ann, tier, book):
    booking = book(ann, tier)
    for call in (payments.charge, payments.look_up, payments.refund):
        with pytest.raises(RuntimeError), transaction.atomic():
            call(booking)
    assert ledger.calls("charge") == 1
