"""What one customer at a time gets when placing a booking."""

import time
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from bookings import steps
from bookings.audit import audit
from bookings.errors import CustomerLimitReached, InsufficientTickets, SalesClosed
from bookings.models import Booking
from bookings.tests.wishing import hold, wish
from concerts import stock
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from ticketbook.errors import NotFound

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


def test_a_paid_booking_is_confirmed_and_its_tickets_leave_the_stock(ledger, ann, tier, book, left):
    booking = book(ann, tier, 3)

    assert (booking.status, booking.payment_status) == ("CONFIRMED", "SUCCESS")
    assert booking.total_price == Decimal("30.00")
    assert left(tier) == 97
    assert ledger.captured() == {str(booking.pk): Decimal("30.00")}
    assert audit() == []


def test_a_declined_booking_gives_its_tickets_back(ledger, ann, tier, book, left):
    ledger.mode("decline")
    booking = book(ann, tier, 3)

    assert (booking.status, booking.payment_status) == ("FAILED", "FAILED")
    assert booking.failure_reason == "DECLINED"
    assert left(tier) == 100
    assert ledger.captured() == {}
    assert audit() == []


@pytest.mark.parametrize("mode", ["lose_request", "lose_answer", "outage"])
def test_without_an_answer_the_hold_stays_pending(ledger, ann, tier, book, left, mode):
    ledger.mode(mode)
    booking = book(ann, tier, 3)

    assert (booking.status, booking.payment_status) == ("PENDING", "PENDING")
    assert booking.outcome_unknown
    assert left(tier) == 97
    assert audit() == []


def test_a_free_ticket_needs_no_gateway(ledger, ann, book):
    ledger.mode("outage")
    booking = book(ann, TicketTierFactory(price="0.00"))
    assert booking.status == Booking.Status.CONFIRMED
    assert ledger.calls("charge") == 0


def test_the_price_of_a_booking_is_the_price_at_the_time(ledger, ann, tier, book):
    booking = book(ann, tier, 2)
    tier.price = Decimal("99.00")
    tier.save()
    booking.refresh_from_db()
    assert booking.total_price == Decimal("20.00")


def test_nobody_gets_more_tickets_than_are_left(ledger, ann, book, left):
    tier = TicketTierFactory(total_quantity=3)
    with pytest.raises(InsufficientTickets) as refused:
        book(ann, tier, 4)
    assert refused.value.facts == {"availableQuantity": 3}
    book(ann, tier, 3)
    with pytest.raises(InsufficientTickets) as refused:
        book(ann, tier, 1)
    assert refused.value.facts == {"availableQuantity": 0}
    assert left(tier) == 0
    assert Booking.objects.count() == 1


@pytest.mark.parametrize("quantity", [0, -1, 11, 10**12])
def test_a_quantity_out_of_range_never_reaches_the_database(ann, tier, book, left, quantity):
    with pytest.raises(ValueError, match="quantity must be 1 to 10"):
        book(ann, tier, quantity)
    assert left(tier) == 100


def test_an_unknown_tier_is_not_found(ann, tier, book):
    tier.pk = uuid.uuid4()
    with pytest.raises(NotFound):
        book(ann, tier)


def test_a_draft_is_not_found(ann, book):
    tier = TicketTierFactory(concert__status=Concert.Status.DRAFT)
    with pytest.raises(NotFound):
        book(ann, tier)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "opens", "closes", "begins"),
    [
        ("CANCELLED", None, None, HOUR),
        ("PUBLISHED", HOUR, None, 2 * HOUR),
        ("PUBLISHED", None, timedelta(0), HOUR),
        ("PUBLISHED", -2 * HOUR, -HOUR, HOUR),
        ("PUBLISHED", None, None, timedelta(0)),
        ("PUBLISHED", -HOUR, timedelta(0), timedelta(0)),
    ],
    ids=["called off", "not open yet", "closing now", "closed", "begun", "begun, closing now"],
)
def test_a_concert_sells_only_while_it_is_on_sale(ann, book, left, status, opens, closes, begins):
    now = timezone.now()
    tier = TicketTierFactory(
        concert__status=status,
        concert__sales_open_at=opens and now + opens,
        concert__sales_close_at=None if closes is None else now + closes,
        concert__date=now + begins,
    )
    with pytest.raises(SalesClosed):
        book(ann, tier, now=now)
    assert left(tier) == 100


def test_sales_open_at_their_time(ledger, ann, book):
    now = timezone.now()
    tier = TicketTierFactory(concert__sales_open_at=now)
    with pytest.raises(SalesClosed):
        book(ann, tier, now=now - timedelta(minutes=1))
    assert book(ann, tier, now=now).status == Booking.Status.CONFIRMED


def test_a_customer_keeps_to_the_limit_of_the_tier(ledger, ann, bob, book, left):
    tier = TicketTierFactory(max_per_customer=4)
    book(ann, tier, 3)
    with pytest.raises(CustomerLimitReached) as refused:
        book(ann, tier, 2)
    assert refused.value.facts == {"maxPerCustomer": 4, "alreadyBooked": 3}
    book(ann, tier, 1)
    book(bob, tier, 4)
    assert left(tier) == 92


def test_declined_tickets_do_not_count_against_the_limit(ledger, ann, book):
    tier = TicketTierFactory(max_per_customer=4)
    ledger.mode("decline")
    book(ann, tier, 4)
    ledger.mode("approve")
    assert book(ann, tier, 4).status == Booking.Status.CONFIRMED


def test_the_time_waited_for_the_lock_counts(ann, tier):
    """A wish that waited past the end of sales is refused, and the time of a hold begins after the wait."""
    now = timezone.now()
    tier.concert.sales_close_at = now + timedelta(seconds=50)
    tier.concert.save()
    late = wish(ann, tier, now=now, arrived_monotonic=time.monotonic() - 100)
    with pytest.raises(SalesClosed):
        hold(late)
    tier.concert.sales_close_at = None
    tier.concert.save()
    stock.forget_snapshot(tier.pk)
    assert hold(late).booking.hold_expires_at > now + timedelta(seconds=100)


# --- Expired holds in the way ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 1], ids=["stock", "customer limit"])
def test_an_expired_hold_in_a_buyers_way_is_resolved_on_demand(ledger, ann, book, left, limit):
    tier = TicketTierFactory(total_quantity=1, max_per_customer=limit)
    now = timezone.now()
    ledger.mode("lose_request")
    stuck = book(ann, tier, now=now)
    ledger.mode("approve")

    booking = book(ann, tier, now=now + timedelta(minutes=2))

    assert booking.status == Booking.Status.CONFIRMED
    stuck.refresh_from_db()
    assert (stuck.status, stuck.failure_reason) == ("FAILED", "EXPIRED")
    assert audit() == []


def test_a_hold_that_was_paid_after_all_is_not_taken_from_its_owner(ledger, ann, bob, book):
    tier = TicketTierFactory(total_quantity=1)
    now = timezone.now()
    ledger.mode("lose_answer")
    paid = book(ann, tier, now=now)
    ledger.mode("approve")

    with pytest.raises(InsufficientTickets):
        book(bob, tier, now=now + timedelta(minutes=2))

    paid.refresh_from_db()
    assert paid.status == Booking.Status.CONFIRMED
    assert ledger.calls("charge") == 1


def test_one_refusal_a_second_looks_for_expired_holds(ann, book, monkeypatch):
    tier, now = TicketTierFactory(total_quantity=0), timezone.now()
    looks = []
    monkeypatch.setattr(steps, "resolve_expired", lambda **asked: looks.append(asked["now"]))
    for later in (0, 0.4, 0.9, 1.1, 1.5):
        with pytest.raises(InsufficientTickets):
            book(ann, tier, now=now + timedelta(seconds=later))
    assert looks == [now, now + timedelta(seconds=1.1)]
