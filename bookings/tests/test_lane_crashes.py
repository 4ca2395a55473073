"""Lanes when a thread dies, a waiter cannot be woken, or the event loop stands still."""

import asyncio
import time
from collections import Counter

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, lanes, steps
from bookings.audit import audit
from bookings.lanes import Batch
from bookings.models import Booking
from bookings.placing import aplace
from bookings.tests.jam import Jam, holding, kinds
from bookings.tests.leftovers import resolve_all
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from bookings.tier_transaction import LockedTier
from bookings.wishes import Held
from concerts import stock
from ticketbook import event_loop
from ticketbook.errors import Busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_lane_left_behind"),
]


# --- A thread that dies -------------------------------------------------------------------------


def once(monkeypatch, owner, name, *, before, error):
    """The next call of owner.name raises the error, before or after it has done its work."""
    real = getattr(owner, name)

    def fail(*args, **kwargs):
        monkeypatch.setattr(owner, name, real)
        if not before:
            real(*args, **kwargs)
        raise error

    monkeypatch.setattr(owner, name, fail)


PLACES = [
    pytest.param(booking_lanes.TierLane, "serve", True, id="before the transaction"),
    pytest.param(stock, "lock_tier", True, id="before the lock"),
    pytest.param(stock, "lock_tier", False, id="after the lock"),
    pytest.param(Batch, "board", True, id="before boarding"),
    pytest.param(Batch, "board", False, id="after boarding"),
    pytest.param(LockedTier, "serve", True, id="before reading"),
    pytest.param(LockedTier, "_write", True, id="before writing"),
    pytest.param(LockedTier, "serve", False, id="before the commit"),
    pytest.param(booking_lanes.TierLane, "serve", False, id="after the commit"),
    pytest.param(lanes, "_wake", True, id="before waking"),
]


@pytest.mark.parametrize("error", [SystemExit, MemoryError, RuntimeError])
@pytest.mark.parametrize(("owner", "name", "before"), PLACES)
def test_when_a_thread_dies_everybody_is_answered(tier, monkeypatch, owner, name, before, error):
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    monkeypatch.setattr(lanes, "PATIENCE", 1.0)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:3]:
        jam.follow(holding(buyer, tier))
    if (owner, name, before) in {
        (stock, "lock_tier", True),
        (booking_lanes.TierLane, "serve", True),
    }:
        jam.holder.finish()  # the jam is past that step, so the error meets the next batch
        [rider.finish() for rider in jam.riders]
    once(monkeypatch, owner, name, before=before, error=error)
    results = jam.clear()
    last = Stepped(catching(holding(buyers[3], tier))).finish()
    assert set(kinds([*results, last])) <= {Held, Busy}
    monkeypatch.undo()
    assert isinstance(hold(wish(buyers[0], tier)), Held)
    assert audit() == []


def catching(act):
    def run():
        try:
            return act()
        except Exception as exc:
            return exc

    return run


def test_a_waiter_that_cannot_be_woken_keeps_nobody_else_waiting(tier, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 3.0)
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    once(monkeypatch, lanes.Waiter, "wake", before=True, error=RuntimeError)
    assert Counter(kinds(jam.clear())) == {Held: 2, Busy: 1}


def test_control_if_one_failure_ends_the_waking_the_whole_batch_waits_in_vain(tier, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 1.0)
    monkeypatch.setattr(lanes, "_wake_on_loop", lambda waiters: [w.wake() for w in waiters])
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    once(monkeypatch, lanes.Waiter, "wake", before=True, error=RuntimeError)
    assert kinds(jam.clear()) == [Busy] * 3


# --- The event loop -----------------------------------------------------------------------------


def test_a_loop_that_is_blocked_for_a_second_loses_no_booking(tier):
    buyers = UserFactory.create_batch(30)
    loop = event_loop.event_loop()

    async def all_at_once():
        together = steps.InLanes()
        loop.call_later(0.01, time.sleep, 1)
        return await asyncio.gather(*(aplace(wish(buyer, tier), together) for buyer in buyers))

    placed = event_loop.run(all_at_once())
    assert {p.booking.status for p in placed} == {"CONFIRMED"}
    assert audit() == []


def test_two_hundred_tasks_cancelled_at_random_moments_end_settled(ledger, tier):
    """The bookings' own tasks are cancelled, as when a loop ends. The resolver settles what they leave."""
    buyers = UserFactory.create_batch(20)

    async def cancel_some():
        together = steps.InLanes()
        tasks = [
            asyncio.create_task(aplace(wish(buyers[i % 20], tier, 1), together)) for i in range(200)
        ]
        for i, task in enumerate(tasks):
            asyncio.get_running_loop().call_later((i * 7919 % 200) / 1000, task.cancel)
        return await asyncio.gather(*tasks, return_exceptions=True)

    tier_before = 100
    results = event_loop.run(cancel_some())
    assert len(results) == 200
    assert audit() == []
    booking_lanes.stop()
    ledger.wait_until_quiet()  # a real hold expires long after its charge reached the gateway
    resolve_all(now=timezone.now() + timezone.timedelta(minutes=5))
    confirmed = Booking.objects.filter(status="CONFIRMED")
    assert {str(pk) for pk in confirmed.values_list("pk", flat=True)} == set(ledger.kept())
    tier.refresh_from_db()
    assert tier.available_quantity == tier_before - confirmed.tickets()
    assert audit() == []
