"""What has happened to a booking and where its money is, as its page tells it."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from bookings import refunding
from bookings.cancelling import cancel, cancel_for_customer, return_tickets
from bookings.models import Booking, Refund
from bookings.payments import Outcome
from bookings.settling import settle
from bookings.tests.test_my_bookings_list import main_of
from concerts.calling_off import call_off
from concerts.tests.factories import TicketTierFactory
from concerts.tests.moves import move
from mail.models import Mail
from tickets.fulfilment import fulfil
from tickets.story import story_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def booking(ledger, ann, tier, book):
    """Four tickets at 10.00, paid and fulfilled."""
    booking = book(ann, tier, 4)
    fulfil(booking, now=timezone.now())
    return booking


def told(booking):
    booking = Booking.objects.with_details().get(pk=booking.pk)
    return [event.says for event in story_of(booking)]


def page(client, booking):
    return main_of(client.get(f"/bookings/{booking.pk}/"))


def give(booking, *numbers):
    now = timezone.now()
    return_tickets(booking, len(numbers), numbers=numbers, key=uuid.uuid4(), now=now)


def test_booked_paid_and_mailed_with_their_times(ann, booking):
    mail = Mail.objects.get()
    assert told(booking)[2] == f"The tickets are on the way to {ann.email}."
    Mail.objects.update(status="SENT", sent_at=timezone.now())
    events = story_of(Booking.objects.with_details().get())
    assert [event.says for event in events] == [
        "You booked 4 × General admission for $40.00.",
        "$40.00 paid.",
        f"The tickets were mailed to {ann.email}.",
    ]
    mail.refresh_from_db()
    assert [event.at for event in events] == [booking.created_at, booking.updated_at, mail.sent_at]


def test_a_mail_that_could_not_be_delivered_is_told(ann, booking):
    Mail.objects.update(status="FAILED", last_error="no such box")
    assert told(booking)[2] == f"The mail to {ann.email} could not be delivered."


def test_what_was_returned_and_sent_back_is_told_in_order(as_ann, booking):
    give(booking, 2, 4)
    give(booking, 1)
    assert told(booking)[3:] == [
        "You gave back 2 of 4 tickets (numbers 2, 4).",
        "$20.00 was sent back to you.",
        "You gave back 1 of 4 tickets (number 1).",
        "$10.00 was sent back to you.",
    ]
    sent = Refund.objects.latest("id").sent_at
    says = page(as_ann, booking)
    assert "You returned 3 of 4 tickets. $30.00 was sent back to you." in says
    by = f"{sent + timedelta(days=14):%B %Y}"
    assert "Sent back $30.00 Banks take up to ten working days" in says
    assert f"it should be on your account by {(sent + timedelta(days=14)).day} {by}" in says


def test_money_that_is_not_sent_yet_has_no_date(as_ann, ledger, booking):
    ledger.mode("outage")
    give(booking, 3)
    says = page(as_ann, booking)
    assert "$10.00 is on its way back to you." in says
    assert "On its way back $10.00 We send it as soon as the payment service takes it." in says
    assert "on your account by" not in says


@pytest.mark.parametrize("end", ["some returned", "cancelled", "called off", "late"])
def test_a_refund_that_was_refused_is_never_on_its_way(
    as_ann, ann, ledger, booking, tier, take_hold, end
):
    ledger.mode("refuse_refunds")
    now = timezone.now()
    if end == "some returned":
        give(booking, 3)
    elif end == "cancelled":
        cancel(booking, now=now)
    elif end == "called off":
        call_off(tier.concert_id, by=None, now=now)
        refunding.send_refunds(booking, now=now)
    else:
        booking = settle(take_hold(ann, tier, 4), Outcome.NOT_FOUND, now=now)
        settle(booking, Outcome.SUCCEEDED, now=now)
        refunding.send_refunds(booking, now=now)
    amount = "$10.00" if end == "some returned" else "$40.00"
    says = page(as_ann, booking)
    assert "on its way" not in says.lower()
    assert says.count(f"The payment service refused to send {amount} back.") == 2  # top and story
    assert f"Refused by the payment service {amount} Our staff see this" in says
    assert f"{amount} refund refused" in says  # beside the total


def test_a_cancelled_booking_says_who_cancelled_it(staff, booking, ann, tier, book):
    cancel(booking, now=timezone.now())
    assert "You cancelled the booking." in told(booking)
    second = book(ann, tier, 2)
    options = {"refund": Decimal(5), "by": staff, "note": "asked"}
    cancel_for_customer(second, 2, **options, now=timezone.now())
    assert told(second)[-2:] == ["Our staff cancelled the booking.", "$5.00 was sent back to you."]


def test_goodwill_and_a_late_payment_say_why(staff, booking, ann, tier, take_hold):
    now = timezone.now()
    refunding.give_money_back(booking, Decimal(5), by=staff, note="noise", now=now)
    assert told(booking)[-1] == "You keep the tickets. $5.00 was sent back to you."
    late = settle(take_hold(ann, tier), Outcome.NOT_FOUND, now=timezone.now())
    settle(late, Outcome.SUCCEEDED, now=timezone.now())
    assert told(late) == [
        "You chose 1 × General admission for $10.00, and we held them for you.",
        "No payment came in time, so the tickets went back on sale.",
        "Your payment came too late. $10.00 is on its way back to you.",
    ]


def test_a_concert_that_moved_and_was_called_off_is_in_the_story(booking, tier):
    now = booking.created_at
    move(tier.concert, venue="Arena", now=now + timedelta(seconds=1))
    call_off(tier.concert_id, by=None, now=now + timedelta(seconds=2))
    events = told(booking)
    moved, ended = events[-3:-1]
    assert moved.startswith("The concert moved. It had been on ")
    assert moved.endswith("at Town Hall.")
    assert ended == "The concert was called off, so your booking was cancelled."
    assert events[-1] == "$40.00 is on its way back to you."


def test_what_was_declined_says_that_nothing_was_charged(ledger, ann, tier, book):
    ledger.mode("decline")
    assert told(book(ann, tier)) == [
        "You chose 1 × General admission for $10.00, and we held them for you.",
        "The payment was declined, and the tickets went back on sale. Nothing was charged.",
    ]


def test_free_tickets_were_not_paid(ledger, ann, book):
    booking = book(ann, TicketTierFactory(price=0), 2)
    assert told(booking) == ["You booked 2 × General admission for free."]
    cancel(booking, now=timezone.now())
    assert told(booking)[-1] == "You cancelled the booking."


def test_a_concert_that_is_over_wishes_no_fun(as_ann, booking, tier):
    tier.concert.date = timezone.now() - timedelta(days=1)
    tier.concert.save()
    says = page(as_ann, booking)
    assert "This concert is over." in says
    assert "Enjoy" not in says
