"""Returns, refunds and kept-back tickets meet each other and sales: stepped by hand, and in threads."""

import uuid
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import cancelling, refunding
from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.errors import InsufficientTickets, NotCancellable, RefundTooLarge, TooManyReturned
from bookings.models import Booking, Refund
from bookings.refunding import give_money_back
from bookings.tests.racing import Stepped, race
from concerts import stock
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]

NOW = timezone.now()
BOOKING_WRITTEN = "UPDATE bookings_booking"
TIER_LOCKED = "FOR NO KEY UPDATE"


@pytest.fixture(autouse=True)
def _nobody_stays_behind():
    yield
    Stepped.release_all()


def reread(booking):
    return Booking.objects.get(pk=booking.pk)


def returning(booking, tickets, key=None):
    key = key or uuid.uuid4()
    return lambda: return_tickets(reread(booking), tickets, key=key, now=NOW)


def refunds(booking):
    return Counter(booking.refunds.values_list("reason", "tickets", "amount", "status"))


def test_a_part_is_returned_while_the_booking_is_cancelled(ledger, ann, tier, book, left):
    booking = book(ann, tier, 4)
    first = Stepped(returning(booking, 1), after=BOOKING_WRITTEN).wait_until_reached()
    second = Stepped(lambda: cancel(reread(booking), now=NOW)).wait_until_blocked_by(first)
    assert first.finish() is False
    assert second.finish().status == "CANCELLED"
    assert refunds(booking) == {
        ("PART", 1, Decimal(10), "SENT"): 1,
        ("CANCELLED", 3, Decimal(30), "SENT"): 1,
    }
    assert left(tier) == 100
    assert audit() == []


def test_a_booking_is_cancelled_while_a_part_is_returned(ledger, ann, tier, book, left):
    booking = book(ann, tier, 4)
    first = Stepped(lambda: cancel(reread(booking), now=NOW), after=BOOKING_WRITTEN)
    first.wait_until_reached()
    second = Stepped(returning(booking, 1)).wait_until_blocked_by(first)
    assert first.finish().status == "CANCELLED"
    assert isinstance(second.finish(), NotCancellable)
    assert refunds(booking) == {("CANCELLED", 4, Decimal(40), "SENT"): 1}
    assert left(tier) == 100
    assert audit() == []


def test_one_key_returns_tickets_once_from_two_doors(ledger, ann, tier, book, left):
    booking, key = book(ann, tier, 4), uuid.uuid4()
    first = Stepped(returning(booking, 1, key), after=BOOKING_WRITTEN).wait_until_reached()
    second = Stepped(returning(booking, 1, key)).wait_until_blocked_by(first)
    assert (first.finish(), second.finish()) == (False, True)
    assert left(tier) == 97
    assert audit() == []


def test_eight_windows_return_four_tickets(ledger, ann, tier, book, left):
    booking = book(ann, tier, 4)
    answers = race(lambda i: returning(booking, 1)(), 8)
    assert answers == {bool: 4, NotCancellable: 4}
    booking.refresh_from_db()
    assert (booking.status, booking.payment_status) == ("CANCELLED", "REFUNDED")
    assert refunds(booking).total() == 4
    assert ledger.kept() == {}
    assert left(tier) == 100
    assert audit() == []


def test_control_without_the_bookings_lock_a_constraint_stops_the_return(
    ledger, ann, tier, book, left, monkeypatch
):
    """Two returns that both read four tickets. The database refuses the second of them."""
    booking = book(ann, tier, 4)
    monkeypatch.setattr(cancelling, "lock_booking", lambda booking: None)
    monkeypatch.setattr(stock, "lock_sql", lambda: stock.TicketTier.objects.filter(
        pk=uuid.UUID(int=0)).query.sql_with_params()[0])  # fmt: skip
    first = Stepped(returning(booking, 3), after="FROM bookings_return").wait_until_reached()
    assert returning(booking, 3)() is False
    refused = first.finish()
    assert isinstance(refused, IntegrityError)
    assert refused.__cause__.diag.constraint_name == "booking_returned_range"
    assert left(tier) == 99
    assert audit() == []


def test_tickets_are_kept_back_while_somebody_buys_the_last_ones(ledger, bob, staff, book, left):
    tier = TicketTierFactory(total_quantity=10)
    keeping = Stepped(
        lambda: stock.keep_back(tier_id=tier.pk, tickets=9, by=staff, reason="", now=NOW),
        after=TIER_LOCKED,
    ).wait_until_reached()
    buying = Stepped(lambda: book(bob, tier, 2)).wait_until_blocked_by(keeping)
    keeping.finish()
    assert isinstance(buying.finish(), InsufficientTickets)
    assert left(tier) == 1
    assert audit() == []


def test_keeping_back_among_sales_keeps_the_books(ledger, staff, book, left):
    tier, buyers = TicketTierFactory(total_quantity=10), UserFactory.create_batch(16)

    def act(i):
        if i % 4:
            return book(buyers[i], tier)
        return stock.keep_back(
            tier_id=tier.pk, tickets=i // 4, by=staff, reason="guests", now=timezone.now()
        )

    answers = race(act, 16)
    tier.refresh_from_db()
    assert answers[Booking] + answers[InsufficientTickets] == 12
    assert answers[Booking] == tier.taken_quantity
    assert tier.taken_quantity + tier.kept_back + tier.available_quantity == 10
    assert audit() == []


def test_goodwill_meets_a_cancellation(ledger, ann, staff, tier, book):
    """The customer never gets more than the price."""
    booking = book(ann, tier, 2)
    giving = Stepped(
        lambda: give_money_back(reread(booking), Decimal(15), by=staff, note="rain", now=NOW),
        after=BOOKING_WRITTEN,
    ).wait_until_reached()
    cancelled = Stepped(lambda: cancel(reread(booking), now=NOW)).wait_until_blocked_by(giving)
    assert giving.finish().status == "SENT"
    assert cancelled.finish().payment_status == "REFUNDED"
    assert refunds(booking) == {
        ("GOODWILL", 0, Decimal(15), "SENT"): 1,
        ("CANCELLED", 2, Decimal(5), "SENT"): 1,
    }
    assert ledger.kept() == {}
    assert audit() == []


def test_two_members_of_staff_refund_the_same_booking(ledger, ann, staff, tier, book):
    booking = book(ann, tier, 2)

    def give(i):
        return give_money_back(reread(booking), Decimal(15), by=staff, note="rain", now=NOW)

    assert race(give, 2) == {Refund: 1, RefundTooLarge: 1}
    assert audit() == []


def test_control_without_the_lock_a_constraint_stops_the_refund(
    ledger, ann, staff, tier, book, monkeypatch
):
    """Two members of staff have read that nothing was refunded yet."""
    booking = book(ann, tier, 2)
    monkeypatch.setattr(refunding, "lock_booking", lambda booking: None)
    first, second = reread(booking), reread(booking)
    give_money_back(first, Decimal(15), by=staff, note="rain", now=NOW)
    with pytest.raises(IntegrityError) as refused:
        give_money_back(second, Decimal(15), by=staff, note="rain", now=NOW)
    assert refused.value.__cause__.diag.constraint_name == "booking_refunded_range"
    assert audit() == []


def test_returning_against_selling_keeps_the_books(ledger, ann, book, left):
    tier, buyers = TicketTierFactory(total_quantity=8), UserFactory.create_batch(12)
    mine = book(ann, tier, 8)

    def act(i):
        if i % 3 == 0:
            return return_tickets(reread(mine), 2, key=uuid.uuid4(), now=timezone.now())
        return book(buyers[i], tier, 1)

    answers = race(act, 12)
    assert answers[bool] == 4
    assert answers[Booking] + answers[InsufficientTickets] == 8
    assert left(tier) == 8 - answers[Booking]
    assert audit() == []


def test_nobody_returns_more_tickets_than_there_are(ledger, ann, tier, book):
    booking = book(ann, tier, 3)
    returning(booking, 2)()
    with pytest.raises(TooManyReturned) as refusal:
        returning(booking, 2)()
    assert refusal.value.facts == {"returnable": 1}
    cancel(reread(booking), now=timezone.now() + timedelta(seconds=1))
    assert ledger.kept() == {}
