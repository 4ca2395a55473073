"""Wishes that meet in a lane share a transaction, and each gets its own answer."""

import threading
import uuid
from collections import Counter

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, lanes, settling
from bookings.audit import audit
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
)
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.settling import Settlement, settle
from bookings.tests.jam import Jam, holding, kinds, settling_together, until
from bookings.tests.racing import race
from bookings.tests.wishing import hold, wish
from bookings.wishes import Held
from concerts.tests.factories import TicketTierFactory
from ticketbook.errors import Busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_lane_left_behind"),
]


def test_wishes_that_come_before_the_tier_is_locked_share_the_transaction(tier, batches):
    jam, buyers = Jam(tier), UserFactory.create_batch(6)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held] * 6
    assert batches == [(6, 0)]
    assert audit() == []


def test_a_batch_has_a_largest_size(tier, batches, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_BATCH", 2)
    jam, buyers = Jam(tier), UserFactory.create_batch(6)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held] * 6
    assert batches == [(2, 0), (2, 0), (2, 0)]


def test_first_come_is_first_served_and_each_gets_its_own_answer():
    tier = TicketTierFactory(total_quantity=6, max_per_customer=4)
    ann, bob, carol, dave = UserFactory.create_batch(4)
    jam = Jam(tier)  # its holder gives a ticket back
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
    assert kinds([first, again, other, bobs]) == [
        Held, RequestInProgress, IdempotencyKeyReused, Held
    ]  # fmt: skip
    assert again.facts == {"bookingId": first.booking.pk}
    assert first.booking != bobs.booking
    assert left(tier) == 100 - 1 - 2 - 2


def test_a_declined_hold_rides_along_with_buyers(ann, bob, tier, batches, left):
    """A paid hold does not wait with them, because it needs no lock."""
    paid, declined = hold(wish(ann, tier, 2)).booking, hold(wish(bob, tier, 3)).booking
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    assert settling_together(Settlement(paid, Outcome.SUCCEEDED, timezone.now()))()
    jam.follow(settling_together(Settlement(declined, Outcome.DECLINED, timezone.now())))
    for buyer in buyers[1:]:
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held, bool, Held, Held]
    assert batches == [(3, 1)]
    for booking, status in ((paid, "CONFIRMED"), (declined, "FAILED")):
        booking.refresh_from_db()
        assert booking.status == status
    assert left(tier) == 100 - 2 - 3
    assert audit() == []


def test_a_ticket_that_comes_back_is_sold_in_the_same_transaction(bob, batches, left):
    tier, buyers = TicketTierFactory(total_quantity=2), UserFactory.create_batch(2)
    declined = hold(wish(bob, tier)).booking
    jam = Jam(tier)  # its holder gives the other ticket back
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    jam.follow(settling_together(Settlement(declined, Outcome.DECLINED, timezone.now())))
    jam.follow(holding(buyers[1], tier))
    assert kinds(jam.clear()) == [Held, bool, Held]
    assert batches == [(2, 1)]
    assert left(tier) == 0
    assert audit() == []


def test_confirmations_of_all_tiers_share_a_statement(ann):
    bookings = [hold(wish(ann, TicketTierFactory())).booking for _ in range(5)]
    settlements = [Settlement(b, Outcome.SUCCEEDED, timezone.now()) for b in bookings]
    statements = []

    def count(execute, sql, *args):
        statements.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(count):
        assert settling.write(settlements) == [True] * 5
    assert len(statements) == 1
    assert set(Booking.objects.values_list("status", flat=True)) == {"CONFIRMED"}


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.DECLINED])
def test_a_settlement_that_comes_too_late_changes_nothing_in_the_lane(ann, tier, left, outcome):
    booking = hold(wish(ann, tier, 2)).booking
    settle(Booking.objects.get(pk=booking.pk), Outcome.NOT_FOUND, now=timezone.now())
    assert settling_together(Settlement(booking, outcome, timezone.now()))() is False
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
        hold(wish(buyers[3], tier))
    assert (busy.value.status, busy.value.code, busy.value.retry_after) == (503, "busy", 1)
    assert kinds(jam.clear()) == [Held] * 3


def test_a_waiter_gives_up_when_its_patience_ends(tier, monkeypatch):
    jam, buyers = Jam(tier), UserFactory.create_batch(2)
    jam.lead(holding(buyers[0], tier))
    monkeypatch.setattr(lanes, "PATIENCE", 0.05)
    with pytest.raises(Busy):
        hold(wish(buyers[1], tier))
    assert len(jam.queue) == 1  # only the first buyer still waits
    assert kinds(jam.clear()) == [Held]
    assert Booking.objects.of(buyers[1]).count() == 0


def test_a_lane_whose_waiters_have_all_left_goes_on(tier, monkeypatch, caplog):
    monkeypatch.setattr(lanes, "PATIENCE", 0.05)
    jam, buyers = Jam(tier), UserFactory.create_batch(2)
    jam.lead(holding(buyers[0], tier))
    until(lambda: not jam.queue)
    monkeypatch.undo()
    assert kinds(jam.clear()) == [Busy]
    assert isinstance(hold(wish(buyers[1], tier)), Held)
    assert "failed" not in caplog.text


def test_two_hundred_buyers_at_once_leave_no_thread_behind(tier):
    buyers = UserFactory.create_batch(200)
    hold(wish(buyers[0], tier))
    booking_lanes.stop()
    before = threading.active_count()
    assert race(lambda i: hold(wish(buyers[i], tier)), 200) == {Held: 99, InsufficientTickets: 101}
    booking_lanes.stop()
    assert threading.active_count() == before
    assert audit() == []


def test_twenty_tiers_take_turns_on_the_threads_there_are():
    tiers = [TicketTierFactory() for _ in range(20)]
    buyers = UserFactory.create_batch(40)
    outcome = race(lambda i: hold(wish(buyers[i], tiers[i % 20], 2)), 40)
    assert outcome == Counter({Held: 40})
    assert len(booking_lanes.TIER_THREADS.threads) <= settings.LANE_THREADS
    assert audit() == []
