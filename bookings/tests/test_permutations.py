"""Pairs of verbs that meet on one tier or booking, in every order of their steps: the outcomes that may come.

The outcome of an order is what both verbs answer and how the booking stands. Each set below is complete: an
outcome that is new, and one that does not come any more, both fail the test.
"""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import cancelling, payments, refunding
from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.gateways.base import Outcome
from bookings.models import Booking
from bookings.placing import place
from bookings.refunding import give_money_back, send_refunds
from bookings.resolving import resolve_expired
from bookings.settling import settle
from bookings.tests import permuting
from bookings.tests.permuting import permutations
from bookings.tests.wishing import hold, wish
from concerts import stock
from concerts.calling_off import call_off
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
LATER = NOW + timedelta(minutes=2)
MUCH_LATER = NOW + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _the_verbs_alone(settings, monkeypatch):
    settings.BOOKING_LANES = False  # a lane would make one transaction of both
    for module in (cancelling, refunding):  # refunds are sent by jobs, after both verbs
        monkeypatch.setattr(module, "try_to_send", lambda booking, *, now: None)


def word(result):
    """An answer or an error in one word."""
    if isinstance(result, Booking):
        return result.status
    if isinstance(result, list):
        return f"{sum(isinstance(each, Booking) for each in result)} settled"
    return result if isinstance(result, str) else type(result).__name__


def outcomes(ledger, stage, *, orders_at_least):
    """The set of outcomes over all orders. After each of them the books and the money are right."""
    found, orders = set(), set()
    for order, first, second, scene in permutations(stage):
        orders.add(order)
        booking = scene if isinstance(scene, Booking) else None
        state = ()
        if booking is not None:
            booking.refresh_from_db()
            state = (booking.status,)
            send_refunds(booking, now=NOW)
        assert audit() == [], order
        _money_is_right(ledger, order)
        found.add((word(first), word(second), *state))
    assert len(orders) >= orders_at_least, orders
    return found


def _money_is_right(ledger, order):
    kept = ledger.kept()
    for booking in Booking.objects.exclude(status="PENDING"):
        owed = booking.refundable if booking.status == "CONFIRMED" else Decimal(0)
        if booking.payment_status != "FAILED":
            assert kept.get(str(booking.pk), 0) == owed, order


def buying(tier, quantity):
    buyer = wish(UserFactory(), tier, quantity, now=NOW)
    return lambda: place(buyer).booking


def test_two_buyers_want_the_last_tickets(ledger):
    def stage():
        tier = TicketTierFactory(total_quantity=3)
        return tier, buying(tier, 2), buying(tier, 2)

    assert outcomes(ledger, stage, orders_at_least=6) == {
        ("CONFIRMED", "InsufficientTickets"),
        ("InsufficientTickets", "CONFIRMED"),
    }


def test_a_buyer_meets_a_smaller_capacity(ledger, staff):
    def stage():
        tier = TicketTierFactory(total_quantity=4)
        change = {"tier_id": tier.pk, "total": 2, "by": staff, "reason": "", "now": NOW}
        return tier, buying(tier, 3), lambda: stock.change_capacity(**change)

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("CONFIRMED", "CapacityBelowSold"),
        ("InsufficientTickets", "CapacityChange"),
    }


def taken(quantity=2, *, paid=False):
    """A hold that its process never settled; returns it and functions that read it anew."""
    tier = TicketTierFactory(total_quantity=10)
    booking = hold(wish(UserFactory(), tier, quantity, now=NOW)).booking
    if paid:
        assert payments.charge(booking) is Outcome.SUCCEEDED
    return booking, lambda: Booking.objects.get(pk=booking.pk)


def bought(quantity=2):
    tier = TicketTierFactory(total_quantity=10)
    booking = place(wish(UserFactory(), tier, quantity, now=NOW)).booking
    return booking, lambda: Booking.objects.get(pk=booking.pk)


def test_its_own_request_and_the_resolver_settle_a_hold(ledger):
    def stage():
        booking, reread = taken(paid=True)
        only = Booking.objects.filter(pk=booking.pk)
        return (
            booking,
            lambda: settle(reread(), Outcome.SUCCEEDED, now=LATER),
            lambda: resolve_expired(now=LATER, only=only),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("CONFIRMED", "0 settled", "CONFIRMED"),
        ("CONFIRMED", "1 settled", "CONFIRMED"),
    }


def test_a_customer_cancels_twice_at_once(ledger):
    def stage():
        booking, reread = bought()
        return (
            booking,
            lambda: cancel(reread(), now=NOW),
            lambda: cancel(reread(), now=NOW),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {("CANCELLED", "CANCELLED", "CANCELLED")}


def test_a_customer_cancels_while_the_hold_is_resolved(ledger):
    def stage():
        booking, reread = taken(paid=True)
        only = Booking.objects.filter(pk=booking.pk)
        return (
            booking,
            lambda: cancel(reread(), now=LATER),
            lambda: resolve_expired(now=LATER, only=only),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("CANCELLED", "1 settled", "CANCELLED"),
        ("RequestInProgress", "1 settled", "CONFIRMED"),
    }


def test_a_hold_expires_while_its_payment_turns_out_to_have_come(ledger):
    def stage():
        booking, reread = taken(paid=True)
        return (
            booking,
            lambda: settle(reread(), Outcome.NOT_FOUND, now=MUCH_LATER),
            lambda: settle(reread(), Outcome.SUCCEEDED, now=MUCH_LATER),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("CONFIRMED", "CONFIRMED", "CONFIRMED"),
        ("FAILED", "FAILED", "FAILED"),  # and the money went back
    }


def test_a_concert_is_called_off_while_a_hold_is_settled(ledger, staff):
    def stage():
        booking, reread = taken(paid=True)
        concert = booking.ticket_tier.concert_id
        return (
            booking,
            lambda: call_off(concert, by=staff, now=LATER) and "called off",
            lambda: settle(reread(), Outcome.SUCCEEDED, now=LATER),
        )

    assert outcomes(ledger, stage, orders_at_least=6) == {
        ("called off", "CONFIRMED", "CANCELLED"),  # confirmed, then called off
        ("called off", "CANCELLED", "CANCELLED"),
    }


def test_some_tickets_are_returned_while_the_booking_is_cancelled(ledger):
    def stage():
        booking, reread = bought(4)
        return (
            booking,
            lambda: return_tickets(reread(), 1, key=uuid.uuid4(), now=NOW),
            lambda: cancel(reread(), now=NOW),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("bool", "CANCELLED", "CANCELLED"),
        ("NotCancellable", "CANCELLED", "CANCELLED"),
    }


def test_money_is_given_back_while_the_booking_is_cancelled(ledger, staff):
    def stage():
        booking, reread = bought(2)
        return (
            booking,
            lambda: give_money_back(reread(), Decimal(15), by=staff, note="", now=NOW),
            lambda: cancel(reread(), now=NOW),
        )

    assert outcomes(ledger, stage, orders_at_least=4) == {
        ("Refund", "CANCELLED", "CANCELLED"),
        ("NothingToRefund", "CANCELLED", "CANCELLED"),
    }


def test_control_without_the_tiers_lock_two_buyers_meet_at_the_check(ledger, monkeypatch):
    """The same two buyers. Some order shows the fault at once: the database has to refuse."""
    unlocked = stock.TicketTier.objects.filter(pk=uuid.UUID(int=0)).query.sql_with_params()[0]
    monkeypatch.setattr(stock, "lock_sql", lambda: unlocked)

    def stage():
        tier = TicketTierFactory(total_quantity=3)
        return tier, buying(tier, 2), buying(tier, 2)

    found = {(word(first), word(second)) for _, first, second, _ in permutations(stage)}
    assert found & {("CONFIRMED", "IntegrityError"), ("IntegrityError", "CONFIRMED")}


def test_control_all_orders_of_free_steps_are_made():
    read = "SELECT 1 FROM bookings_booking WHERE false"

    def steps():
        with connection.cursor() as cursor:
            for _ in range(2):
                cursor.execute(read)

    assert permuting.LOOK.search(read)
    orders = {order for order, *_ in permutations(lambda: (None, steps, steps))}
    assert len(orders) == 20  # three steps each: 6! / (3! 3!)
