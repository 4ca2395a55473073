"""Lanes when something breaks: a poisoned wish, a lock, the database, a thread that dies."""

import asyncio
import time
import uuid
from collections import Counter

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import booking_lanes, lanes, settling, steps
from bookings.audit import audit
from bookings.errors import IdempotencyKeyReused
from bookings.holding import LockedTier
from bookings.lanes import Batch
from bookings.models import Booking
from bookings.placing import aplace
from bookings.resolving import resolve_expired
from bookings.tests.jam import Jam, blocked, holding, kinds, until
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from bookings.wishes import Held
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop
from ticketbook.errors import Busy, NotFound
from ticketbook.postgres.failures import is_busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_lane_left_behind"),
]


def test_one_poisoned_wish_spoils_nobody_elses(tier, batches):
    """Its user is gone: the foreign key fails at the commit of the transaction that all share."""
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    ghost = User(pk=uuid.uuid4(), email="ghost@example.com")
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in (buyers[1], ghost, buyers[2], buyers[3]):
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held, Held, IntegrityError, Held, Held]
    assert batches == [(5, 0)] + [(1, 0)] * 5  # together in vain, then each alone
    assert audit() == []


def test_two_keys_on_two_tiers_in_opposite_order_stop_nobody(ann, batches):
    """Two batches insert the same keys; each would wait for what the other has inserted first."""
    tiers, keys = [TicketTierFactory(), TicketTierFactory()], sorted(uuid.uuid4() for _ in range(3))
    third = Stepped(inserting(ann, TicketTierFactory(), keys[1]), after=BOOKING_INSERTED)
    third.wait_until_reached()  # both batches wait for it in the middle of their keys
    jams = [Jam(tier) for tier in tiers]
    for jam, tier, order in zip(jams, tiers, (keys, keys[::-1]), strict=True):
        jam.lead(holding(ann, tier, 1, order[0]))
        for key in order[1:]:
            jam.follow(holding(ann, tier, 1, key))
        jam.follow(holding(UserFactory(), tier))
    for jam in jams:
        jam.holder.finish()
    until(lambda: blocked() == 2)
    third.finish()
    results = [rider.finish() for jam in jams for rider in jam.riders]
    assert Counter(kinds(results)) == {Held: 4, IdempotencyKeyReused: 4}
    assert audit() == []


BOOKING_INSERTED = "INSERT INTO bookings_booking"


def inserting(user, tier, key):
    def insert():
        with transaction.atomic():
            Booking.objects.create(
                user=user,
                ticket_tier=tier,
                quantity=1,
                unit_price=10,
                total_price=10,
                idempotency_key=key,
                hold_expires_at=timezone.now(),
            )
            stock.take(tier, 1, now=timezone.now())

    return insert


def test_a_tier_that_is_deleted_meanwhile_is_not_found(tier):
    """Nobody has bought of it yet, so staff may delete it; its queue gets a clear answer."""
    buyers = UserFactory.create_batch(3)

    def delete():
        with transaction.atomic():
            TicketTier.objects.filter(pk=tier.pk).delete()

    jam = Jam(tier, delete, after="DELETE FROM concerts_tickettier")
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [NotFound] * 3
    assert not Booking.objects.exists()


def test_a_lock_timeout_is_busy_for_all_who_wait_for_it(ann, tier, impatient):
    impatient("300ms")
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(ann, tier))
    for buyer in buyers:
        jam.follow(holding(buyer, tier))
    results = [rider.finish() for rider in jam.riders]  # the lock is never let go
    assert kinds(results) == [Busy] * 4
    assert all(is_busy(result.__cause__) for result in results)
    jam.holder.finish()
    assert isinstance(hold(wish(ann, tier)), Held)


def test_a_wish_whose_row_somebody_locks_is_served_alone(tier, impatient):
    """The foreign key of one booking cannot be checked: its customer waits, and nobody else is refused."""
    impatient("300ms")
    victim, others = UserFactory(), UserFactory.create_batch(4)
    jam = Jam(tier)
    jam.lead(holding(others[0], tier))
    jam.follow(holding(victim, tier))
    for other in others[1:]:
        jam.follow(holding(other, tier))
    with transaction.atomic():
        User.objects.select_for_update().get(pk=victim.pk)
        results = jam.clear()
    assert kinds(results) == [Held, OperationalError, Held, Held, Held]
    assert audit() == []


def test_whoever_was_told_busy_has_no_hold_afterwards(tier, monkeypatch, impatient):
    """The rows of many are locked for long: those who gave up meanwhile are not served behind their backs."""
    impatient("200ms")
    monkeypatch.setattr(lanes, "PATIENCE", 0.8)
    victims = UserFactory.create_batch(6)
    jam = Jam(tier)
    with transaction.atomic():
        list(User.objects.select_for_update().filter(pk__in=[victim.pk for victim in victims]))
        jam.lead(holding(victims[0], tier))
        for victim in victims[1:]:
            jam.follow(holding(victim, tier))
        results = jam.clear()
    assert set(kinds(results)) <= {Busy, OperationalError}
    booking_lanes.stop()
    assert not Booking.objects.filter(user__in=victims).exists()
    assert isinstance(hold(wish(victims[0], tier)), Held)
    assert audit() == []


def test_a_database_that_goes_away_is_busy_and_the_lane_lives_on(ann, tier):
    """Every connection is cut, as a restart does it, while four wait for the lock."""
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(ann, tier))
    for buyer in buyers:
        jam.follow(holding(buyer, tier))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    jam.holder.finish()
    assert kinds([rider.finish() for rider in jam.riders]) == [Busy] * 4
    assert isinstance(hold(wish(ann, tier)), Held)
    assert audit() == []


# --- A thread that dies -----------------------------------------------------------------------------


def once(monkeypatch, owner, name, *, before, error):
    """The first call of owner.name raises, before or after it has done its work."""
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
def test_a_thread_that_dies_strands_nobody(tier, monkeypatch, owner, name, before, error):
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    monkeypatch.setattr(lanes, "PATIENCE", 1.0)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:3]:
        jam.follow(holding(buyer, tier))
    if (owner, name, before) in {
        (stock, "lock_tier", True),
        (booking_lanes.TierLane, "serve", True),
    }:
        jam.holder.finish()  # that step is behind those in the jam, so it meets the next ones
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
    monkeypatch.setattr(lanes, "PATIENCE", 1.0)
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    once(monkeypatch, lanes.Waiter, "wake", before=True, error=RuntimeError)
    assert Counter(kinds(jam.clear())) == {Held: 2, Busy: 1}


def test_control_with_one_waking_for_all_the_batch_is_stranded(tier, monkeypatch):
    """What the test above would see if the first failure ended the waking."""
    monkeypatch.setattr(lanes, "PATIENCE", 1.0)
    monkeypatch.setattr(lanes, "_wake_on_loop", lambda waiters: [w.wake() for w in waiters])
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    once(monkeypatch, lanes.Waiter, "wake", before=True, error=RuntimeError)
    assert kinds(jam.clear()) == [Busy] * 3


# --- The lane of settlements ------------------------------------------------------------------------


def losing_the_connection(times):
    """settling.write fails as a lost connection does, so many times."""
    real, left = settling.write, [times]

    def write(settlements):
        if left[0]:
            left[0] -= 1
            raise OperationalError("gone") from psycopg.OperationalError("gone")
        return real(settlements)

    return write


def place_together(user, tier):
    return event_loop.run(aplace(wish(user, tier), steps.InLanes())).booking


@pytest.mark.parametrize("times", [1, 2, 3, 1000], ids=["once", "twice", "thrice", "always"])
def test_a_confirmation_that_fails(ann, tier, monkeypatch, times):
    """Once: the second try. Twice: 202, and the resolver may take it at once. Always: after the hold."""
    monkeypatch.setattr(settling, "write", losing_the_connection(times))
    booking = place_together(ann, tier)
    expected = {1: ("CONFIRMED", False), 2: ("PENDING", True)}.get(times, ("PENDING", False))
    booking.refresh_from_db()
    assert (booking.status, booking.outcome_unknown) == expected
    monkeypatch.undo()
    later = timezone.now() + timezone.timedelta(minutes=2)
    resolve_expired(now=timezone.now() if times == 2 else later)
    booking.refresh_from_db()
    assert booking.status == "CONFIRMED"
    assert audit() == []


def test_one_poisoned_settlement_spoils_nobody_elses(tier, monkeypatch):
    buyers = UserFactory.create_batch(4)
    real = settling.send

    def send(settlements):
        if any(s.booking.user_id == buyers[0].pk for s in settlements):
            raise IntegrityError("poison")
        return real(settlements)

    monkeypatch.setattr(settling, "send", send)

    async def all_at_once():
        together = steps.InLanes()
        return await asyncio.gather(
            *(aplace(wish(buyer, tier), together) for buyer in buyers), return_exceptions=True
        )

    results = event_loop.run(all_at_once())
    assert kinds(results)[0] is IntegrityError
    assert [placed.booking.status for placed in results[1:]] == ["CONFIRMED"] * 3
    assert audit() == []


# --- The event loop ---------------------------------------------------------------------------------


def test_a_loop_that_is_blocked_for_a_second_loses_nobody(tier):
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
    """The task of a booking itself is cancelled, as at the end of a loop: the resolver ends what it left."""
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
    resolve_expired(now=timezone.now() + timezone.timedelta(minutes=5), limit=1000)
    assert not Booking.objects.pending().exists()
    confirmed = Booking.objects.filter(status="CONFIRMED")
    assert {str(pk) for pk in confirmed.values_list("pk", flat=True)} == set(ledger.kept())
    tier.refresh_from_db()
    assert tier.available_quantity == tier_before - confirmed.tickets()
    assert audit() == []
