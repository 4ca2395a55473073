"""After a refusal, a tier refuses by its snapshot for a moment, without the lock."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.settling import settle
from bookings.tests.api_client import book_at, token_of
from concerts import stock
from concerts.tests.factories import TicketTierFactory
from ticketbook.asgi import application

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("our_host", "every_payment_succeeds"),
]


@pytest.fixture
def sold_out(ann, bob, monkeypatch):
    """A tier whose last ticket Ann has bought, and Bob's token."""
    monkeypatch.setattr(stock, "SNAPSHOT_SECONDS", 60)
    tier, token = TicketTierFactory(total_quantity=1), token_of(bob)
    assert book_at(application, tier, token_of(ann)).status_code == 201
    assert book_at(application, tier, token).status_code == 409  # this request looks under the lock
    return tier, token


def test_requests_that_follow_a_refusal_take_no_lock(sold_out, batches):
    tier, token = sold_out
    answers = [book_at(application, tier, token) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {409}
    assert answers[0].json()["availableQuantity"] == 0
    assert batches == []


def test_replays_and_dead_tokens_are_still_recognised(sold_out, ann, batches):
    tier, _ = sold_out
    booking = Booking.objects.get()
    again = book_at(application, tier, token_of(ann), key=booking.idempotency_key)
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert book_at(application, tier, "0" * 64).status_code == 401
    assert batches == []


def test_a_snapshot_expires(sold_out, batches, monkeypatch):
    tier, token = sold_out
    now = stock.monotonic()
    monkeypatch.setattr(stock, "monotonic", lambda: now + 61)
    assert book_at(application, tier, token).status_code == 409
    assert batches == [(1, 0)]


def test_a_snapshot_lasts_a_tenth_of_a_second():
    assert stock.SNAPSHOT_SECONDS == 0.1


@pytest.mark.parametrize("how", ["cancelled", "declined", "more capacity"])
def test_tickets_given_back_in_this_process_end_a_snapshot_at_once(sold_out, how, settings):
    tier, token = sold_out
    booking = Booking.objects.get()
    if how == "cancelled":
        cancel(booking, now=timezone.now())
    elif how == "declined":
        Booking.objects.update(status="PENDING", payment_status="PENDING")
        settle(booking, Outcome.DECLINED, now=timezone.now())
    else:
        stock.change_capacity(
            tier_id=tier.pk, total=2, by=UserFactory(is_staff=True), reason="", now=timezone.now()
        )
    assert book_at(application, tier, token).status_code == 201


def test_a_sale_that_opens_by_the_clock_is_open_at_once(ann, monkeypatch):
    """The snapshot keeps the times of the concert and not the refusal."""
    monkeypatch.setattr(stock, "SNAPSHOT_SECONDS", 60)
    opens = timezone.now() + timedelta(seconds=1.5)
    tier, token = TicketTierFactory(concert__sales_open_at=opens), token_of(ann)
    assert book_at(application, tier, token).json()["code"] == "sales_closed"
    while timezone.now() < opens:
        pass
    assert book_at(application, tier, token).status_code == 201


def test_control_without_forgetting_the_returned_ticket_stays_hidden(sold_out, monkeypatch):
    tier, token = sold_out
    monkeypatch.setattr(stock, "forget_snapshot", lambda tier_id: None)
    cancel(Booking.objects.get(), now=timezone.now())
    assert book_at(application, tier, token).status_code == 409
