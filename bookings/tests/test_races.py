"""Many threads race through the real verbs. Controls run a race without its guard."""

import threading
import uuid
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError
from django.db.models import F
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import lanes, tier_transaction
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
)
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tests.racing import race
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


def test_sixty_four_buyers_race_for_ten_tickets(ledger, book, left):
    tier, buyers = TicketTierFactory(total_quantity=10), UserFactory.create_batch(64)

    assert race(lambda i: book(buyers[i], tier), 64) == {Booking: 10, InsufficientTickets: 54}

    assert left(tier) == 0
    assert Booking.objects.filter(status="CONFIRMED").count() == 10
    assert len(ledger.captured()) == 10
    assert audit() == []


def test_buyers_of_several_tickets_never_get_half_a_wish(ledger, book, left):
    tier, buyers = TicketTierFactory(total_quantity=10), UserFactory.create_batch(16)
    assert race(lambda i: book(buyers[i], tier, 3), 16) == {Booking: 3, InsufficientTickets: 13}
    assert left(tier) == 1
    assert audit() == []


@pytest.fixture
def without_the_lock(monkeypatch, settings):
    """The tier is read without a lock, and all buyers have read it before the first one writes."""
    settings.BOOKING_LANES = False  # in a lane one thread reads for all

    def start(buyers):
        all_have_read = threading.Barrier(buyers, timeout=30)
        locked_get = stock.lock_tier

        def read_tier(tier_id):
            tier = locked_get(tier_id)
            all_have_read.wait()
            return tier

        unlocked, _ = TicketTier.objects.filter(pk=uuid.uuid4()).query.sql_with_params()
        monkeypatch.setattr(stock, "lock_sql", lambda: unlocked)
        monkeypatch.setattr(stock, "lock_tier", read_tier)

    return start


def test_control_without_the_lock_a_named_constraint_stops_the_oversell(
    ledger, book, left, without_the_lock
):
    tier, buyers = TicketTierFactory(total_quantity=10), UserFactory.create_batch(64)
    stopped_by = Counter()

    def buy(i):
        try:
            return book(buyers[i], tier)
        except IntegrityError as exc:
            stopped_by[exc.__cause__.diag.constraint_name] += 1
            raise

    without_the_lock(64)
    assert race(buy, 64) == {Booking: 10, IntegrityError: 54}
    assert stopped_by == {"tier_available_not_negative": 54}
    assert left(tier) == 0


def test_control_without_the_lock_and_relative_updates_the_race_oversells(
    ledger, book, left, without_the_lock, monkeypatch
):
    """With arithmetic in Python the CHECK sees a plausible number. Only the audit finds the error."""

    real = tier_transaction.take_parameters

    def what_was_read(tier, allocation, *, now):
        return real(tier, allocation, now=now) | {"read": tier.available_quantity}

    tier, buyers = TicketTierFactory(total_quantity=10), UserFactory.create_batch(16)
    monkeypatch.setattr(tier_transaction, "take_parameters", what_was_read)
    moving = "available_quantity = available_quantity + "
    assert moving in tier_transaction.TAKE
    monkeypatch.setattr(
        tier_transaction,
        "TAKE",
        tier_transaction.TAKE.replace(moving, "available_quantity = %(read)s::int + "),
    )
    without_the_lock(16)
    assert race(lambda i: book(buyers[i], tier), 16) == {Booking: 16}
    assert left(tier) == 9
    assert any("oversold" in line for line in audit())


def test_fifty_requests_with_one_key_book_and_charge_once(ledger, ann, bob, book, left):
    tier, key = TicketTierFactory(total_quantity=1), uuid.uuid4()

    outcome = race(lambda i: book(ann, tier, key=key), 50)

    assert set(outcome) <= {Booking, RequestInProgress}
    assert outcome[Booking] >= 1
    assert Booking.objects.count() == 1
    assert ledger.calls("charge") == 1
    assert ledger.captured() == {str(Booking.objects.get().pk): Decimal("10.00")}
    assert left(tier) == 0
    with pytest.raises(
        InsufficientTickets
    ):  # Bob's request is another one, though its key is the same
        book(bob, tier, key=key)


def test_control_without_the_look_under_the_lock_the_unique_constraint_decides(
    ledger, ann, book, tier, left, monkeypatch
):
    """No request finds the key, so all try to insert it, and booking_user_key_unique lets one through."""
    monkeypatch.setattr(tier_transaction, "bookings_of_keys", lambda found: {})
    monkeypatch.setattr(
        lanes, "MAX_BATCH", 1
    )  # wishes of one batch would know of each other's keys
    key = uuid.uuid4()
    outcome = race(lambda i: book(ann, tier, key=key), 8)
    assert Booking.objects.count() == 1
    assert left(tier) == 99
    assert set(outcome) - {Booking, RequestInProgress} == {IdempotencyKeyReused}
    assert audit() == []


def test_one_key_on_two_tiers_at_once_books_one_of_them(ledger, ann, book):
    tiers, key = [TicketTierFactory(), TicketTierFactory()], uuid.uuid4()
    outcome = race(lambda i: book(ann, tiers[i % 2], key=key), 8)
    assert outcome[Booking] >= 1
    assert Booking.objects.count() == 1
    assert ledger.calls("charge") == 1
    assert audit() == []


def test_one_customer_in_many_windows_keeps_to_the_limit(ledger, ann, book, left):
    tier = TicketTierFactory(max_per_customer=4)
    assert race(lambda i: book(ann, tier), 16) == {Booking: 4, CustomerLimitReached: 12}
    assert left(tier) == 96


def test_sixteen_cancels_give_back_once(ledger, ann, tier, book, left):
    booking = book(ann, tier, 5)

    def cancel_it(_):
        return cancel(Booking.objects.get(pk=booking.pk), now=timezone.now())

    assert race(cancel_it, 16) == {Booking: 16}
    assert left(tier) == 100
    assert ledger.refunded() == {str(booking.pk): Decimal("50.00")}
    assert audit() == []


def test_buying_and_cancelling_at_once_keeps_the_books(ledger, book, left):
    """32 people buy and cancel a tier of five tickets, again and again."""
    tier, buyers = TicketTierFactory(total_quantity=5), UserFactory.create_batch(32)

    def buy_and_cancel(i):
        for _ in range(3):
            try:
                cancel(book(buyers[i], tier), now=timezone.now())
            except InsufficientTickets:
                continue

    assert race(buy_and_cancel, 32) == {type(None): 32}
    assert left(tier) == 5
    assert ledger.kept() == {}
    assert audit() == []


def test_two_resolvers_share_the_work(ledger, ann, tier, book, left):
    now = timezone.now()
    ledger.mode("lose_answer")
    for _ in range(10):
        book(ann, tier, now=now)
    ledger.mode("approve")
    later = now + timedelta(minutes=2)

    race(lambda i: resolve_expired(now=later), 4)

    assert Booking.objects.filter(status="CONFIRMED").count() == 10
    assert ledger.calls("look_up") == 10
    assert audit() == []


def test_capacity_changes_among_sales_keep_the_books(ledger, book, left):
    tier, buyers = TicketTierFactory(total_quantity=20), UserFactory.create_batch(16)
    staff = UserFactory(is_staff=True)

    def act(i):
        if i % 4:
            return book(buyers[i], tier)
        return stock.change_capacity(
            tier_id=tier.pk, total=20 + i, by=staff, reason="more chairs", now=timezone.now()
        )

    assert race(act, 16) == {Booking: 12, stock.CapacityChange: 4}
    tier.refresh_from_db()
    assert tier.total_quantity - tier.available_quantity == 12
    assert audit() == []
    assert TicketTier.objects.filter(available_quantity__lte=F("total_quantity")).count() == 1
