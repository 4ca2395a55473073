"""Holds that nobody settled, cancelled bookings, and money that has to go back."""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings import resolving, tasks
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import NotCancellable, RequestInProgress
from bookings.gateways import named
from bookings.models import Booking, Refund
from bookings.payments import GatewayUnavailable
from bookings.resolving import resolve_expired
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]

NOW = timezone.now()
AFTER_HOLD = NOW + timedelta(seconds=61)
AFTER_GIVING_UP = NOW + timedelta(seconds=601)


def state(booking):
    booking.refresh_from_db()
    return booking.status, booking.payment_status, booking.failure_reason


@pytest.fixture
def stuck(ledger, ann, tier, book):
    """Make a hold whose charge ends without an answer, in this mode of the gateway; returns its booking."""

    def stuck(mode):
        ledger.mode(mode)
        booking = book(ann, tier, 2, now=NOW)
        ledger.mode("approve")
        return booking

    return stuck


def test_a_hold_is_left_alone_until_its_time(stuck):
    booking = stuck("lose_request")
    assert resolve_expired(now=NOW + timedelta(seconds=59)) == []
    assert state(booking) == ("PENDING", "PENDING", "")


def test_a_payment_that_went_through_is_found_and_confirmed(stuck, ledger, tier, left):
    booking = stuck("lose_answer")
    assert resolve_expired(now=AFTER_HOLD) == [booking]
    assert state(booking) == ("CONFIRMED", "SUCCESS", "")
    assert left(tier) == 98
    assert ledger.calls("charge") == 1


def test_a_payment_that_the_gateway_never_got_frees_the_tickets(stuck, tier, left):
    booking = stuck("lose_request")
    assert resolve_expired(now=AFTER_HOLD) == [booking]
    assert state(booking) == ("FAILED", "FAILED", "EXPIRED")
    assert left(tier) == 100


def test_a_hold_does_not_fail_because_of_its_time_alone(stuck, ledger, tier, left):
    booking = stuck("lose_answer")
    ledger.mode("outage")
    assert resolve_expired(now=AFTER_HOLD) == []
    assert state(booking) == ("PENDING", "PENDING", "")
    assert left(tier) == 98


def test_when_the_gateway_stays_silent_the_tickets_go_back(stuck, ledger, tier, left):
    booking = stuck("lose_answer")
    ledger.mode("outage")
    assert resolve_expired(now=AFTER_GIVING_UP) == [booking]
    assert state(booking) == ("FAILED", "FAILED", "EXPIRED")
    assert left(tier) == 100
    assert audit() == []


def test_a_payment_that_is_found_too_late_is_refunded(stuck, ledger, tier, left):
    booking = stuck("lose_answer")
    ledger.mode("outage")
    resolve_expired(now=AFTER_GIVING_UP)

    with pytest.raises(GatewayUnavailable):
        tasks.look_for_late_payment(str(booking.pk))  # the job is retried
    ledger.mode("approve")
    tasks.look_for_late_payment(str(booking.pk))
    assert state(booking) == ("FAILED", "SUCCESS", "EXPIRED")
    tasks.refund_booking(str(booking.pk))
    tasks.refund_booking(str(booking.pk))

    assert state(booking) == ("FAILED", "REFUNDED", "EXPIRED")
    assert ledger.refunded() == {str(booking.pk): Decimal("20.00")}
    assert left(tier) == 100


@pytest.mark.parametrize(("looks", "jobs"), [(1, 2), (tasks.LOOKS, 1)])
def test_a_charge_may_still_be_on_its_way_so_the_job_looks_again(stuck, looks, jobs):
    booking = stuck("lose_request")
    resolve_expired(now=AFTER_HOLD)
    tasks.look_for_late_payment(str(booking.pk), looks=looks)
    made = ProcrastinateJob.objects.filter(
        task_name="bookings.tasks.look_for_late_payment", args__booking_id=str(booking.pk)
    )
    assert made.count() == jobs


def test_the_last_look_waits_until_the_gateway_answers(stuck, ledger):
    """However long an outage is, money that was taken is found in the end."""
    booking = stuck("lose_answer")
    ledger.mode("outage")
    resolve_expired(now=AFTER_GIVING_UP)
    with pytest.raises(GatewayUnavailable):  # and so the job is tried again
        tasks.look_for_late_payment(str(booking.pk), looks=tasks.LOOKS)
    ledger.mode("approve")
    tasks.look_for_late_payment(str(booking.pk), looks=tasks.LOOKS)
    assert state(booking) == ("FAILED", "SUCCESS", "EXPIRED")


def test_one_hold_that_cannot_be_resolved_does_not_stop_the_others(ledger, ann, tier, book):
    ledger.mode("lose_request")
    bad, good = book(ann, tier, now=NOW), book(ann, tier, now=NOW)
    real = resolving.payments.aclose_payment

    async def close(booking):
        if booking.pk == bad.pk:
            raise ValueError("a bug")
        return await real(booking)

    ledger.mode("approve")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolving.payments, "aclose_payment", close)
        assert resolve_expired(now=AFTER_HOLD) == [good]
    assert state(bad) == ("PENDING", "PENDING", "")


def test_a_booking_of_a_gateway_without_a_name_does_not_stop_the_others(stuck):
    bad = stuck("lose_request")
    Booking.objects.update(gateway="oldbank", action_url="https://oldbank.example/pay")
    good = stuck("lose_request")
    assert resolve_expired(now=AFTER_GIVING_UP) == [good]
    assert state(bad) == ("PENDING", "PENDING", "")


def test_a_slow_gateway_delays_many_holds_no_longer_than_one(ledger, ann, tier, book):
    ledger.mode("lose_request")
    for _ in range(5):
        book(ann, tier, now=NOW)

    class Slow:
        async def look_up(self, **_):
            await asyncio.sleep(0.5)
            raise GatewayUnavailable

    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(named, "gateway", lambda name: Slow())
        assert resolve_expired(now=AFTER_HOLD) == []
    assert time.monotonic() - began < 1.5


def test_a_claimed_hold_is_left_alone_for_a_while(stuck, ledger):
    stuck("lose_request")
    ledger.mode("outage")
    resolve_expired(now=AFTER_HOLD)
    ledger.mode("approve")
    assert resolve_expired(now=AFTER_HOLD + timedelta(seconds=9)) == []
    assert len(resolve_expired(now=AFTER_HOLD + timedelta(seconds=10))) == 1


# --- Cancel ------------------------------------------------------------------------------------------


def test_cancelling_gives_tickets_and_money_back_once(ledger, ann, tier, book, left):
    booking = book(ann, tier, 2)
    for _ in range(2):
        cancel(booking, now=timezone.now())
        assert state(booking) == ("CANCELLED", "REFUNDED", "")
        assert left(tier) == 100
    assert ledger.refunded() == {str(booking.pk): Decimal("20.00")}
    assert ledger.calls("refund") == 1
    assert audit() == []


def test_a_refund_that_the_gateway_did_not_take_is_owed_until_it_does(
    ledger, ann, tier, book, left
):
    booking = book(ann, tier, 2)
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    assert state(booking) == ("CANCELLED", "SUCCESS", "")
    assert left(tier) == 100
    ledger.mode("approve")
    tasks.refund_booking(str(booking.pk))
    assert state(booking) == ("CANCELLED", "REFUNDED", "")


def test_a_pending_booking_cannot_be_cancelled_yet(stuck, tier, left):
    booking = stuck("lose_request")
    with pytest.raises(RequestInProgress):
        cancel(booking, now=timezone.now())
    assert left(tier) == 98


def test_a_declined_booking_has_nothing_to_cancel(ledger, ann, tier, book, left):
    ledger.mode("decline")
    with pytest.raises(NotCancellable):
        cancel(book(ann, tier), now=timezone.now())
    assert left(tier) == 100


def test_a_concert_that_was_called_off_can_be_cancelled_at_any_time(ledger, ann, book):
    tier = TicketTierFactory()
    booking = book(ann, tier)
    tier.concert.status = "CANCELLED"
    tier.concert.save()
    cancel(booking, now=tier.concert.date + timedelta(days=1))
    assert state(booking) == ("CANCELLED", "REFUNDED", "")


def test_after_the_concert_has_begun_nothing_is_cancelled(ledger, ann, book, left):
    tier = TicketTierFactory()
    booking = book(ann, tier)
    with pytest.raises(NotCancellable):
        cancel(booking, now=tier.concert.date)
    assert state(booking) == ("CONFIRMED", "SUCCESS", "")
    assert Refund.objects.count() == 0
