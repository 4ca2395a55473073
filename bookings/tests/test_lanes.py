"""Requests that meet in a lane: one transaction, each its own answer, and nobody left behind."""

import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import lanes
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import CustomerLimitReached, IdempotencyKeyReused, InsufficientTickets
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.placing import hold
from bookings.serving import Held, Request, Settlement
from bookings.settling import fail
from bookings.tests.racing import Stepped, race
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook.database import is_busy
from ticketbook.errors import Busy, NotFound

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _lanes_are_on(settings):
    settings.BOOKING_LANES = True
    settings.PAYMENT_SUCCESS_RATE = 1
    yield
    Stepped.release_all()
    assert lanes._lanes == {}, "a lane was left behind"


@pytest.fixture
def batches(monkeypatch):
    """How many requests and settlements went into each transaction."""
    seen = []
    real = lanes.hold_and_settle

    def spy(tier_id, board):
        def count():
            requests, settlements = board()
            seen.append((len(requests), len(settlements)))
            return requests, settlements

        return real(tier_id, count)

    monkeypatch.setattr(lanes, "hold_and_settle", spy)
    return seen


class Jam:
    """A lane that stands: its first rider leads and waits for the tier's lock, which we hold."""

    def __init__(self, tier, act=None, *, after="FOR NO KEY UPDATE"):
        self.tier = tier
        self.holder = Stepped(act or cancelling(tier), after=after).wait_until_reached()
        self.riders = []

    def lead(self, act):
        leader = Stepped(act)
        self.riders.append(leader)
        until(lambda: leader.backend is not None)
        leader.wait_until_blocked_by(self.holder)
        return leader

    def follow(self, act):
        """One more in the queue, behind all that are there."""
        before = len(self.queue)
        rider = Stepped(act)
        self.riders.append(rider)
        until(lambda: len(self.queue) > before or not rider.thread.is_alive())
        return rider

    @property
    def queue(self):
        return lanes._lanes[self.tier.pk].queue

    def clear(self):
        """Let go of the lock; the riders' results in the order in which they came."""
        self.holder.finish()
        return [rider.finish() for rider in self.riders]


def cancelling(tier):
    """Gives back one ticket, that somebody has bought before."""
    booking = hold(request(UserFactory(), tier)).booking
    Booking.objects.filter(pk=booking.pk).update(status="CONFIRMED", payment_status="SUCCESS")
    return lambda: cancel(Booking.objects.get(pk=booking.pk), now=timezone.now())


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.001)


def request(user, tier, quantity=1, key=None):
    return Request(
        user=user,
        ticket_tier_id=tier.pk,
        quantity=quantity,
        idempotency_key=key or uuid.uuid4(),
        now=timezone.now(),
    )


def holding(*args, **kwargs):
    """What a thread does that takes tickets out of stock."""
    wish = request(*args, **kwargs)
    return lambda: hold(wish)


def kinds(results):
    return [type(result) for result in results]


def test_those_who_come_until_the_tier_is_locked_share_the_transaction(tier, batches):
    jam, buyers = Jam(tier), UserFactory.create_batch(6)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held] * 6
    assert batches == [(6, 0)]
    assert audit() == []


def test_a_transaction_takes_no_more_than_its_share(tier, batches, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_BATCH", 2)
    jam, buyers = Jam(tier), UserFactory.create_batch(6)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held] * 6
    assert batches == [(2, 0), (2, 0), (2, 0)]


def test_first_come_first_served_and_each_its_own_answer():
    tier = TicketTierFactory(total_quantity=6, max_per_customer=4)
    ann, bob, carol, dave = UserFactory.create_batch(4)
    jam = Jam(tier)  # gives its one ticket back
    jam.lead(holding(ann, tier, 1))
    jam.follow(holding(ann, tier, 4))
    jam.follow(holding(bob, tier, 4))
    jam.follow(holding(carol, tier, 2))
    jam.follow(holding(dave, tier, 1))
    assert kinds(jam.clear()) == [Held, CustomerLimitReached, Held, InsufficientTickets, Held]
    tier.refresh_from_db()
    assert tier.available_quantity == 0
    assert audit() == []


def test_two_requests_with_one_key_in_one_lane_book_once(ann, bob, tier, left, batches):
    jam, key = Jam(tier), uuid.uuid4()
    jam.lead(holding(bob, tier))
    jam.follow(holding(ann, tier, 2, key))
    jam.follow(holding(ann, tier, 2, key))
    jam.follow(holding(ann, tier, 3, key))
    jam.follow(holding(bob, tier, 2, key))
    _, first, again, other, bobs = jam.clear()
    assert batches[-1] == (5, 0)
    assert (first.replayed, again.replayed, bobs.replayed) == (False, True, False)
    assert first.booking == again.booking != bobs.booking
    assert isinstance(other, IdempotencyKeyReused)
    assert left(tier) == 100 - 1 - 2 - 2


def test_settlements_ride_along(ann, bob, tier, batches, left):
    """A paid hold, a declined one, and buyers: one transaction."""
    paid, declined = hold(request(ann, tier, 2)).booking, hold(request(bob, tier, 3)).booking
    settlements = [
        Settlement(paid, Outcome.SUCCEEDED, timezone.now()),
        Settlement(declined, Outcome.DECLINED, timezone.now()),
    ]
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for settlement in settlements:
        jam.follow(lambda settlement=settlement: lanes.settle(settlement))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    jam.clear()
    assert batches == [(3, 2)]
    for booking, status in ((paid, "CONFIRMED"), (declined, "FAILED")):
        assert booking.status == Booking.objects.get(pk=booking.pk).status == status
    assert left(tier) == 100 - 2 - 3
    assert audit() == []


def test_a_ticket_that_comes_back_is_sold_in_the_same_transaction(bob, batches, left):
    tier, buyers = TicketTierFactory(total_quantity=2), UserFactory.create_batch(2)
    declined = hold(request(bob, tier)).booking
    jam = Jam(tier)  # gives the other ticket back
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    jam.follow(lambda: lanes.settle(Settlement(declined, Outcome.DECLINED, timezone.now())))
    jam.follow(holding(buyers[1], tier))
    first, _, second = jam.clear()
    assert kinds([first, second]) == [Held, Held]
    assert batches == [(2, 1)]
    assert left(tier) == 0
    assert audit() == []


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.DECLINED])
def test_a_settlement_that_comes_too_late_changes_nothing_in_the_lane(ann, tier, left, outcome):
    booking = hold(request(ann, tier, 2)).booking
    fail(Booking.objects.get(pk=booking.pk), Booking.FailureReason.EXPIRED, now=timezone.now())
    lanes.settle(Settlement(booking, outcome, timezone.now()))
    assert booking.status == "PENDING"  # place() goes on to settle it alone, and finds out
    booking.refresh_from_db()
    assert (booking.status, booking.failure_reason) == ("FAILED", "EXPIRED")
    assert left(tier) == 100


# --- Bounds ------------------------------------------------------------------------------------------------


def test_a_full_queue_says_busy_at_once(tier, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_QUEUE", 3)
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:3]:
        jam.follow(holding(buyer, tier))
    with pytest.raises(Busy) as busy:
        hold(request(buyers[3], tier))
    assert (busy.value.status, busy.value.code, busy.value.retry_after) == (503, "busy", 1)
    assert kinds(jam.clear()) == [Held] * 3


def test_nobody_waits_for_ever(tier, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 0.05)
    jam, buyers = Jam(tier), UserFactory.create_batch(2)
    jam.lead(holding(buyers[0], tier))
    with pytest.raises(Busy):
        hold(request(buyers[1], tier))
    assert len(jam.queue) == 1  # the leader, who waits for the tier's lock
    assert kinds(jam.clear()) == [Held]
    assert Booking.objects.of(buyers[1]).count() == 0


def test_two_hundred_threads_that_stop_at_once_leave_nothing_behind(tier):
    buyers = UserFactory.create_batch(200)
    before = threading.active_count()
    assert race(lambda i: hold(request(buyers[i], tier)), 200) == {
        Held: 100,
        InsufficientTickets: 100,
    }
    assert threading.active_count() == before
    assert audit() == []


# --- Failure -----------------------------------------------------------------------------------------------


def test_one_poisoned_request_spoils_nobody_elses(tier, batches):
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


BOOKING_INSERTED = 'INSERT INTO "bookings_booking"'


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


def blocked():
    """How many sessions wait for a lock of another's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
        )
        return cursor.fetchone()[0]


def test_a_tier_that_is_deleted_meanwhile_is_not_found(tier):
    """Nobody has bought of it yet, so staff may delete it; its queue gets a clear answer."""
    buyers = UserFactory.create_batch(3)

    def delete():
        with transaction.atomic():
            TicketTier.objects.filter(pk=tier.pk).delete()

    jam = Jam(tier, delete, after='DELETE FROM "concerts_tickettier"')
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [NotFound] * 3
    assert not Booking.objects.exists()


def test_a_lock_timeout_is_busy_for_all_who_shared_it(ann, tier):
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(impatient(holding(ann, tier)))
    for buyer in buyers:
        jam.follow(impatient(holding(buyer, tier)))
    results = [rider.finish() for rider in jam.riders]  # the lock is never let go
    assert kinds(results) == [Busy] * 4
    assert all(is_busy(result.__cause__) for result in results)
    jam.holder.finish()
    assert isinstance(hold(request(ann, tier)), Held)


def impatient(act):
    def run():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '300ms'")
        return act()

    return run


def test_a_database_that_goes_away_is_busy_and_the_lane_lives_on(ann, tier):
    """Every connection is cut, as a restart does it, while one leads and three wait."""
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
    assert isinstance(hold(request(ann, tier)), Held)
    assert audit() == []


@pytest.mark.parametrize("interruption", [SystemExit, KeyboardInterrupt, MemoryError])
def test_a_leader_that_is_killed_in_the_middle_takes_nobody_along(tier, monkeypatch, interruption):
    """The first leader's thread is interrupted while it serves; who waits behind it is served."""
    monkeypatch.setattr(lanes, "MAX_BATCH", 1)
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    real, doomed = lanes.hold_and_settle, holding(buyers[0], tier)

    def die_once(tier_id, board):
        monkeypatch.setattr(lanes, "hold_and_settle", real)
        real(tier_id, board)
        raise interruption

    monkeypatch.setattr(lanes, "hold_and_settle", die_once)
    leader = jam.lead(catching(doomed))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    results = jam.clear()
    assert kinds(results[1:]) == [Held] * 3
    assert leader.result is not None
    # Its booking was made before it died: the same key finds it.
    assert hold(doomed.__closure__[0].cell_contents).replayed
    assert audit() == []


def test_a_leader_that_is_killed_before_it_has_the_lock_takes_nobody_along(tier, monkeypatch):
    """Nobody has boarded yet: all who waited for it are served by the next one."""
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    real = lanes.hold_and_settle

    def die_once(tier_id, board):
        monkeypatch.setattr(lanes, "hold_and_settle", real)
        with transaction.atomic():
            stock.lock_tier(tier_id)
            raise SystemExit

    monkeypatch.setattr(lanes, "hold_and_settle", die_once)
    jam.lead(catching(holding(buyers[0], tier)))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [SystemExit, Held, Held, Held]
    assert Booking.objects.of(buyers[0]).count() == 0
    assert audit() == []


@pytest.mark.parametrize("where", ["serve", "hold_and_settle"])
def test_a_leader_without_memory_leaves_the_lane_to_the_next(tier, monkeypatch, where):
    """It fails before anybody has boarded, in one of two places."""
    buyers = UserFactory.create_batch(2)
    real = getattr(lanes, where)

    def fail_once(*args):
        monkeypatch.setattr(lanes, where, real)
        raise MemoryError

    monkeypatch.setattr(lanes, where, fail_once)
    with suppress(Busy):  # or it goes alone
        hold(request(buyers[0], tier))
    assert lanes._lanes == {}
    assert isinstance(hold(request(buyers[1], tier)), Held)


def test_those_who_share_the_boat_of_a_killed_leader_are_told(tier, monkeypatch):
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    real = lanes.hold_and_settle

    def die_on_board(tier_id, board):
        monkeypatch.setattr(lanes, "hold_and_settle", real)
        real(tier_id, lambda: board() and sys.exit())

    monkeypatch.setattr(lanes, "hold_and_settle", die_on_board)
    jam.lead(catching(holding(buyers[0], tier)))
    jam.follow(holding(buyers[1], tier))
    jam.follow(holding(buyers[2], tier))
    assert kinds(jam.clear()) == [SystemExit, Busy, Busy]
    assert isinstance(hold(request(buyers[2], tier)), Held)


def test_a_waiting_rider_that_is_interrupted_gets_out(tier, monkeypatch):
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(buyers[0], tier))
    real, wish = lanes.wait, request(buyers[1], tier)

    def interrupted(lane, rider):
        if rider.load is wish:
            raise KeyboardInterrupt
        real(lane, rider)

    monkeypatch.setattr(lanes, "wait", interrupted)
    victim = Stepped(catching(lambda: hold(wish)))
    assert isinstance(victim.finish(), KeyboardInterrupt)
    jam.follow(holding(buyers[2], tier))
    assert kinds(jam.clear()) == [Held, Held]
    assert Booking.objects.of(buyers[1]).count() == 0


def catching(act):
    """Return even what a thread would die of."""

    def run():
        try:
            return act()
        except BaseException as exc:
            return exc

    return run


def test_control_without_handing_on_the_lead_the_queue_starves(tier, monkeypatch):
    """What the tests above would see if a leader forgot those behind it."""
    monkeypatch.setattr(lanes, "PATIENCE", 0.2)
    monkeypatch.setattr(lanes, "MAX_BATCH", 1)
    jam, buyers = Jam(tier), UserFactory.create_batch(2)
    jam.lead(holding(buyers[0], tier))
    monkeypatch.setattr(lanes, "pass_on", lambda tier_id, lane: None)
    jam.follow(holding(buyers[1], tier))
    assert kinds(jam.clear()) == [Held, Busy]
    lanes._lanes.clear()


def test_a_hundred_tiers_at_once_have_a_lane_each():
    tiers = [TicketTierFactory() for _ in range(20)]
    buyers = UserFactory.create_batch(40)
    outcome = race(lambda i: hold(request(buyers[i], tiers[i % 20], 2)), 40)
    assert outcome == Counter({Held: 40})
    assert audit() == []
