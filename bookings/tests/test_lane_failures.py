"""Lanes when a wish, a lock or the database fails."""

import asyncio
import uuid
from collections import Counter

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import booking_lanes, lanes, placing, settling, steps
from bookings.audit import audit
from bookings.errors import IdempotencyKeyReused
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
    """Its user does not exist, so the foreign key fails when the shared transaction commits."""
    jam, buyers = Jam(tier), UserFactory.create_batch(4)
    ghost = User(pk=uuid.uuid4(), email="ghost@example.com")
    batches.clear()
    jam.lead(holding(buyers[0], tier))
    for buyer in (buyers[1], ghost, buyers[2], buyers[3]):
        jam.follow(holding(buyer, tier))
    assert kinds(jam.clear()) == [Held, Held, IntegrityError, Held, Held]
    assert batches == [(5, 0)] + [(1, 0)] * 5  # all together, which fails, and then each alone
    assert audit() == []


def test_two_batches_with_the_same_keys_in_opposite_order_stop_nobody(ann, batches):
    """If each batch inserted its keys in the order of its queue, they would wait for each other."""
    tiers, keys = [TicketTierFactory(), TicketTierFactory()], sorted(uuid.uuid4() for _ in range(3))
    third = Stepped(inserting(ann, TicketTierFactory(), keys[1]), after=BOOKING_INSERTED)
    third.wait_until_reached()  # both batches will wait for this key, the middle one
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
    """Staff may delete a tier that nobody has bought from, even while buyers wait for it."""
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


def test_a_lock_timeout_is_busy_for_all_that_wait_for_it(ann, tier, impatient):
    impatient("300ms")
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(ann, tier))
    for buyer in buyers:
        jam.follow(holding(buyer, tier))
    results = [rider.finish() for rider in jam.riders]  # while the lock is still held
    assert kinds(results) == [Busy] * 4
    assert all(is_busy(result.__cause__) for result in results)
    jam.holder.finish()
    assert isinstance(hold(wish(ann, tier)), Held)


def test_a_customer_whose_row_is_locked_delays_nobody_else(tier, impatient):
    """The foreign key to the locked row makes the shared transaction fail, so each wish is served alone."""
    impatient("2s")  # the first one waits for the lock until all others have come
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


def test_a_buyer_who_was_told_busy_has_no_hold_afterwards(tier, monkeypatch, impatient):
    """The customers' rows are locked for longer than they wait. Nothing is stored for those that gave up."""
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
        until(lambda: not blocked())  # one of them was being served when it gave up
    assert set(kinds(results)) <= {Busy, OperationalError}
    booking_lanes.stop()
    assert not Booking.objects.filter(user__in=victims).exists()
    assert isinstance(hold(wish(victims[0], tier)), Held)
    assert audit() == []


def test_a_database_that_goes_away_is_busy_and_the_lane_lives_on(ann, tier):
    """All connections are cut, as by a restart, while four requests wait for the lock."""
    jam, buyers = Jam(tier), UserFactory.create_batch(3)
    jam.lead(holding(ann, tier))
    for buyer in buyers:
        jam.follow(holding(buyer, tier))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )
    jam.holder.finish()
    assert kinds([rider.finish() for rider in jam.riders]) == [Busy] * 4
    assert isinstance(hold(wish(ann, tier)), Held)
    assert audit() == []


# --- The lane of settlements --------------------------------------------------------------------


def losing_the_connection(times):
    """A settling.write whose first `times` calls fail as if the connection were lost."""
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
def test_a_confirmation_that_fails_is_tried_again(ann, tier, monkeypatch, times):
    """After one failure the second try confirms it. After two the answer is 202, and the resolver may confirm
    it at once. After more not even that could be written, so the resolver waits until the hold has expired.
    Nothing is written later, as if the process had died.
    """
    monkeypatch.setattr(settling, "write", losing_the_connection(times))
    monkeypatch.setattr(placing, "write_later", lambda write, *, until: None)
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
    real = settling.send_settlements

    def send(settlements):
        if any(s.booking.user_id == buyers[0].pk for s in settlements):
            raise IntegrityError("poison")
        return real(settlements)

    monkeypatch.setattr(settling, "send_settlements", send)

    async def all_at_once():
        together = steps.InLanes()
        return await asyncio.gather(
            *(aplace(wish(buyer, tier), together) for buyer in buyers), return_exceptions=True
        )

    results = event_loop.run(all_at_once())
    assert kinds(results)[0] is IntegrityError
    assert [placed.booking.status for placed in results[1:]] == ["CONFIRMED"] * 3
    assert audit() == []
