"""Two verbs meet, stepped by hand: one stops inside its transaction, and the other has to wait for it.

PostgreSQL itself says when the second one waits (pg_blocking_pids), so nothing here depends on time.
"""

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from bookings import payments
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import RequestInProgress, SalesClosed
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.resolving import resolve_expired
from bookings.settling import settle
from bookings.tasks import look_for_late_payment, refund_booking
from bookings.tests.racing import Stepped
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from concerts.tests.test_stock import as_a_draft
from ticketbook.errors import Busy, NotFound

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]

NOW = timezone.now()
AFTER_HOLD = NOW + timedelta(minutes=2)
AFTER_GIVING_UP = NOW + timedelta(hours=1)

BOOKING_WRITTEN = "UPDATE bookings_booking"
TIER_LOCKED = "FOR NO KEY UPDATE OF concerts_tickettier"


@pytest.fixture(autouse=True)
def _nobody_stays_behind():
    """A failed test may leave a verb that holds locks. Let it end before the next test."""
    yield
    Stepped.release_all()


@pytest.fixture
def held(ledger, ann, tier, take_hold):
    """A hold of two tickets that a process took and never charged."""
    return take_hold(ann, tier, 2, now=NOW)


def reread(booking):
    return Booking.objects.get(pk=booking.pk)


def state(booking):
    booking = reread(booking)
    return booking.status, booking.payment_status


def test_cancel_against_cancel(ledger, ann, tier, book, left):
    booking = book(ann, tier, 2)
    first = Stepped(lambda: cancel(reread(booking), now=NOW), after=BOOKING_WRITTEN)
    first.wait_until_reached()
    second = Stepped(lambda: cancel(reread(booking), now=NOW)).wait_until_blocked_by(first)
    assert first.finish().status == second.finish().status == "CANCELLED"
    assert left(tier) == 100
    assert len(ledger.refunded()) == 1
    assert audit() == []


def look_up_and_settle(booking):
    return settle(booking, payments.look_up(booking), now=AFTER_HOLD)


def test_settle_against_resolve_both_saying_paid(ledger, held, tier, left):
    ledger_charge(held)
    first = Stepped(lambda: settle(reread(held), Outcome.SUCCEEDED, now=NOW), after=BOOKING_WRITTEN)
    first.wait_until_reached()
    second = Stepped(lambda: look_up_and_settle(reread(held))).wait_until_blocked_by(first)
    assert first.finish().status == second.finish().status == "CONFIRMED"
    assert left(tier) == 98
    assert audit() == []


def test_a_decline_settled_twice_gives_back_once(ledger, held, tier, left):
    first = Stepped(lambda: settle(reread(held), Outcome.DECLINED, now=NOW), after=BOOKING_WRITTEN)
    first.wait_until_reached()
    second = Stepped(lambda: settle(reread(held), Outcome.DECLINED, now=NOW))
    second.wait_until_blocked_by(first)
    assert first.finish().status == second.finish().status == "FAILED"
    assert left(tier) == 100
    assert audit() == []


def test_expiry_first_then_a_late_success(ledger, held, tier, left):
    """While the resolver fails the hold, its charge turns out to have succeeded."""
    ledger_charge(held)
    expiry = Stepped(
        lambda: settle(reread(held), Outcome.NOT_FOUND, now=AFTER_GIVING_UP),
        after=BOOKING_WRITTEN,
    ).wait_until_reached()
    success = Stepped(lambda: settle(reread(held), Outcome.SUCCEEDED, now=AFTER_GIVING_UP))
    success.wait_until_blocked_by(expiry)
    expiry.finish()
    assert success.finish().payment_status == "SUCCESS"

    assert state(held) == ("FAILED", "SUCCESS")  # no ticket, and the money is owed
    refund_booking(str(held.pk))
    look_for_late_payment(str(held.pk))  # finds nothing left to do
    refund_booking(str(held.pk))
    assert state(held) == ("FAILED", "REFUNDED")
    assert ledger.kept() == {}
    assert ledger.calls("refund") == 1
    assert left(tier) == 100
    assert audit() == []


def test_success_first_then_expiry(ledger, held, tier, left):
    ledger_charge(held)
    success = Stepped(
        lambda: settle(reread(held), Outcome.SUCCEEDED, now=NOW), after=BOOKING_WRITTEN
    )
    success.wait_until_reached()
    expiry = Stepped(lambda: settle(reread(held), Outcome.NOT_FOUND, now=AFTER_GIVING_UP))
    expiry.wait_until_blocked_by(success)
    success.finish()
    assert expiry.finish().status == "CONFIRMED"
    assert left(tier) == 98
    assert ledger.refunded() == {}
    assert audit() == []


def test_cancel_meets_a_hold_that_is_being_confirmed(ledger, held, tier, left):
    """The cancel reads PENDING while the booking is being confirmed, so the customer has to try again."""
    ledger_charge(held)
    confirming = Stepped(
        lambda: settle(reread(held), Outcome.SUCCEEDED, now=NOW), after=BOOKING_WRITTEN
    )
    confirming.wait_until_reached()
    assert isinstance(Stepped(lambda: cancel(reread(held), now=NOW)).finish(), RequestInProgress)
    confirming.finish()
    assert cancel(reread(held), now=NOW).status == "CANCELLED"
    assert left(tier) == 100
    assert ledger.kept() == {}


def test_cancel_against_resolve_of_the_same_booking(ledger, held, tier, left):
    """The resolver has found that the hold was paid, but others have confirmed it and are cancelling it.

    The resolver does not even wait for them, because the hold is no longer PENDING.
    """
    ledger_charge(held)
    settle(reread(held), Outcome.SUCCEEDED, now=NOW)
    cancelling = Stepped(lambda: cancel(reread(held), now=NOW), after=BOOKING_WRITTEN)
    cancelling.wait_until_reached()
    settle(reread(held), Outcome.SUCCEEDED, now=AFTER_HOLD)
    cancelling.finish()
    assert state(held) == ("CANCELLED", "REFUNDED")
    assert left(tier) == 100
    assert ledger.kept() == {}
    assert audit() == []


def test_a_buyer_waits_for_a_give_back_and_gets_its_ticket(ledger, ann, bob, book, left):
    tier = TicketTierFactory(total_quantity=1)
    booking = book(ann, tier)
    cancelling = Stepped(lambda: cancel(reread(booking), now=NOW), after=BOOKING_WRITTEN)
    cancelling.wait_until_reached()
    buying = Stepped(lambda: book(bob, tier)).wait_until_blocked_by(cancelling)
    cancelling.finish()
    assert buying.finish().status == "CONFIRMED"
    assert left(tier) == 0
    assert audit() == []


def test_a_resolver_skips_what_another_one_claims(ledger, held):
    first = Stepped(lambda: resolve_expired(now=AFTER_HOLD), after="SKIP LOCKED")
    first.wait_until_reached()
    assert resolve_expired(now=AFTER_HOLD) == []
    assert first.finish() == [held]
    assert ledger.calls("look_up") == 1


def test_a_concert_called_off_while_a_buyer_waits_is_not_sold(ledger, ann, bob, tier, book, left):
    booking = book(ann, tier)
    cancelling = Stepped(lambda: cancel(reread(booking), now=NOW), after=BOOKING_WRITTEN)
    cancelling.wait_until_reached()
    buying = Stepped(lambda: book(bob, tier)).wait_until_blocked_by(cancelling)
    Concert.objects.filter(pk=tier.concert_id).update(status="CANCELLED")
    cancelling.finish()
    assert isinstance(buying.finish(), SalesClosed)
    assert left(tier) == 100


def test_a_decline_that_cannot_be_written_is_left_to_the_resolver(
    ledger, ann, bob, tier, book, left, impatient, monkeypatch
):
    """The tier is locked when the gateway declines. The client gets 202; the resolver may settle at once."""
    other = book(bob, tier)
    ledger.mode("decline")
    impatient("50ms")
    slow = None
    real = payments.acharge

    def lock():
        nonlocal slow
        slow = Stepped(lambda: cancel(reread(other), now=NOW), after=TIER_LOCKED)
        slow.wait_until_reached()

    async def charge_then_lock(booking):
        outcome = await real(booking)
        await asyncio.to_thread(lock)
        return outcome

    monkeypatch.setattr(payments, "acharge", charge_then_lock)
    booking = book(ann, tier)
    assert (booking.status, booking.outcome_unknown) == ("PENDING", True)
    slow.finish()
    assert resolve_expired(now=timezone.now()) == [booking]
    assert state(booking) == ("FAILED", "FAILED")
    assert left(tier) == 100


def test_a_tier_that_stays_locked_is_busy_and_books_nothing(
    ledger, ann, bob, tier, book, left, impatient
):
    booking = book(ann, tier)
    slow = Stepped(lambda: cancel(reread(booking), now=NOW), after=TIER_LOCKED).wait_until_reached()
    impatient("50ms")
    with pytest.raises((Busy, OperationalError)) as busy:
        book(bob, tier)
    cause = busy.value.__cause__ if busy.type is Busy else busy.value
    assert isinstance(cause.__cause__, LockNotAvailable)
    assert slow.finish().status == "CANCELLED"
    assert left(tier) == 100
    assert Booking.objects.of(bob).count() == 0


def test_nobody_buys_while_staff_hide_a_concert(ledger, admin_client, bob, tier, book, left):
    """The sale waits for the form, and then finds no concert."""
    hiding = Stepped(lambda: admin_client.post(*as_a_draft(tier.concert)), after=TIER_LOCKED)
    hiding.wait_until_reached()
    buying = Stepped(lambda: book(bob, tier)).wait_until_blocked_by(hiding)
    assert hiding.finish().status_code == 302
    assert isinstance(buying.finish(), NotFound)
    assert left(tier) == 100


def ledger_charge(booking):
    """The gateway takes the booking's money, and our database does not know it yet."""
    assert payments.charge(booking) is Outcome.SUCCEEDED
