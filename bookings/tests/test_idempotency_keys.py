"""A second request with the same idempotency key."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.errors import IdempotencyKeyReused, InsufficientTickets, RequestInProgress
from bookings.models import Booking
from bookings.placing import place
from bookings.wishes import Wish
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


def again(user, booking, **changes):
    request = {
        "user": user,
        "ticket_tier_id": booking.ticket_tier_id,
        "quantity": booking.quantity,
        "idempotency_key": booking.idempotency_key,
        "arrived_at": timezone.now(),
    }
    return place(Wish(**(request | changes)))


def test_a_key_finds_its_first_booking(ledger, ann, tier, book, left):
    booking = book(ann, tier, 2)
    placed = again(ann, booking)
    assert placed.replayed
    assert placed.booking == booking
    assert left(tier) == 98
    assert ledger.calls("charge") == 1


def test_a_decline_is_replayed_and_never_charged_again(ledger, ann, tier, book):
    ledger.mode("decline")
    booking = book(ann, tier)
    ledger.mode("approve")
    placed = again(ann, booking)
    assert placed.booking.status == Booking.Status.FAILED
    assert ledger.calls("charge") == 1
    assert ledger.captured() == {}


def test_a_key_with_another_quantity_is_refused(ledger, ann, tier, book):
    booking = book(ann, tier, 2)
    with pytest.raises(IdempotencyKeyReused):
        again(ann, booking, quantity=3)


def test_a_key_with_another_tier_is_refused(ledger, ann, tier, book, left):
    booking, other = book(ann, tier, 2), TicketTierFactory()
    with pytest.raises(IdempotencyKeyReused):
        again(ann, booking, ticket_tier_id=other.pk)
    assert left(other) == 100


def test_another_user_with_the_same_key_sees_nothing_of_the_first(ledger, ann, bob, tier, book):
    booking = book(ann, tier)
    placed = again(bob, booking)
    assert not placed.replayed
    assert placed.booking != booking
    assert ledger.calls("charge") == 2


def test_while_the_first_is_at_work_the_key_answers_in_progress(ann, tier, take_hold):
    with pytest.raises(RequestInProgress):
        again(ann, take_hold(ann, tier))


def test_after_a_time_out_the_key_answers_pending(ledger, ann, tier, book):
    ledger.mode("lose_request")
    booking = book(ann, tier)
    placed = again(ann, booking)
    assert placed.replayed
    assert placed.booking.status == Booking.Status.PENDING
    assert ledger.calls("charge") == 0


def test_after_a_crash_the_key_resolves_its_own_hold(ledger, ann, tier, left, take_hold):
    """The process died between hold and charge. The customer tries again when the hold has expired."""
    now = timezone.now()
    placed = again(ann, take_hold(ann, tier, now=now), arrived_at=now + timedelta(minutes=5))
    assert placed.replayed
    assert (placed.booking.status, placed.booking.failure_reason) == ("FAILED", "EXPIRED")
    assert left(tier) == 100


def test_a_refused_request_leaves_its_key_unused(ledger, ann, book):
    tier, key = TicketTierFactory(total_quantity=1), uuid.uuid4()
    with pytest.raises(InsufficientTickets):
        book(ann, tier, 2, key=key)
    assert book(ann, tier, 1, key=key).status == Booking.Status.CONFIRMED


def test_a_silent_gateway_is_not_asked_at_every_replay(ledger, ann, tier, book):
    ledger.mode("outage")
    booking = book(ann, tier)
    later = timezone.now() + timedelta(minutes=2)
    for _ in range(3):
        assert again(ann, booking, arrived_at=later).booking.status == Booking.Status.PENDING
    booking.refresh_from_db()
    assert booking.hold_expires_at > later  # the first replay has claimed it
