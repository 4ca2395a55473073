"""A concert that has moved or was called off says so on every page about a booking."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bookings.cancelling import cancel
from bookings.errors import NotCancellable
from bookings.models import RETURN_AFTER_MOVE, Booking
from bookings.tests.api_client import Api
from bookings.tests.test_my_bookings_list import main_of
from concerts.calling_off import call_off
from concerts.models import Concert
from concerts.tests.moves import move
from mail.composing import compose
from mail.models import Mail
from ticketbook.zones import in_words
from tickets.fulfilment import fulfil

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

A_MINUTE = timedelta(minutes=1)
A_DAY = timedelta(days=1)


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    return book(ann, tier, 2)


def later(minutes):
    return timezone.now() + minutes * A_MINUTE


def pages(client, booking):
    """What the pages about the booking say. The last one is the page of a ticket, which needs no log-in."""
    ticket = fulfil(booking, now=timezone.now())[0]
    paths = [f"/bookings/{booking.pk}/", f"/bookings/{booking.pk}/cancellation/"]
    says = [main_of(client.get(path)) for path in paths]
    return [*says, main_of(Client().get(f"/tickets/{ticket.token}/"))]


def changes(booking):
    booking = Booking.objects.with_details().get(pk=booking.pk)
    return [(change.what, change.before) for change in booking.moved]


def test_every_page_says_how_it_was_and_how_it_is(as_ann, booking):
    concert = booking.ticket_tier.concert
    move(concert, date=concert.date + timedelta(days=9), venue="Arena")
    for says in pages(as_ann, booking):
        assert "This concert has moved. Your tickets remain valid." in says
        assert "It was on" in says
        assert "It was at Town Hall , and is now at Arena ." in says


def test_whoever_booked_after_the_move_is_not_told(ann, tier, booking, book):
    move(tier.concert, venue="Arena", now=later(-2))
    assert changes(booking) == []
    assert changes(book(ann, tier)) == []


def test_whoever_bought_while_the_move_was_saved_is_told(ann, tier, booking):
    move(tier.concert, venue="Arena", now=booking.created_at - timedelta(seconds=2))
    assert changes(booking) == [("venue", "Town Hall")]


def test_each_buyer_is_told_what_the_concert_was_when_they_booked(ann, bob, tier, book, booking):
    move(tier.concert, venue="Arena", now=later(1))
    second = book(bob, tier)
    Booking.objects.filter(pk=second.pk).update(created_at=later(2))
    move(tier.concert, venue="Stadium", now=later(3))
    assert changes(booking) == [("venue", "Town Hall")]
    assert changes(second) == [("venue", "Arena")]
    move(tier.concert, venue="Town Hall", now=later(4))
    assert changes(booking) == []  # it is as booked again
    assert changes(second) == [("venue", "Arena")]


def test_seconds_that_no_page_shows_are_no_move(tier, booking):
    minute = tier.concert.date.replace(second=1, microsecond=0)
    Concert.objects.update(date=minute)
    tier.concert.refresh_from_db()
    move(tier.concert, date=minute + timedelta(seconds=5))
    assert changes(booking) == []


def test_a_concert_that_was_called_off_says_so_on_top_and_no_more_that_it_moved(as_ann, booking):
    fulfil(booking, now=timezone.now())
    ticket = booking.tickets.select_related("booking__ticket_tier").first()
    concert = booking.ticket_tier.concert
    move(concert, venue="Arena")
    call_off(concert.pk, by=None, now=timezone.now())
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert "This concert has been called off. Your tickets are not valid any more" in says
    assert "This concert has moved" not in says
    of_ticket = main_of(Client().get(f"/tickets/{ticket.token}/"))
    assert "This concert has been called off. This ticket is not valid any more." in of_ticket


def test_a_booking_that_is_still_to_be_cancelled_is_not_told_to_enjoy_the_concert(as_ann, booking):
    Concert.objects.update(status="CANCELLED")
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert "Your booking will be cancelled" in says
    assert "Enjoy" not in says
    assert "This concert has been called off." in main_of(
        as_ann.get(f"/bookings/{booking.pk}/cancellation/")
    )


# --- Returns after a move -----------------------------------------------------------------------


def has_begun_earlier(booking, *, moved_before, begun_before=timedelta(hours=1)):
    """The concert, which was in a month, was moved to an earlier date, and has begun since."""
    now, concert = timezone.now(), booking.ticket_tier.concert
    Booking.objects.filter(pk=booking.pk).update(created_at=now - moved_before - A_DAY)
    move(concert, date=now - begun_before, now=now - moved_before)
    return Booking.objects.with_details().get(pk=booking.pk)


def test_after_a_move_tickets_can_be_returned_for_14_days_also_if_the_concert_has_begun(booking):
    now = timezone.now()
    booking = has_begun_earlier(booking, moved_before=timedelta(days=3))
    assert booking.ticket_tier.concert.date < now
    until = booking.returnable_until
    assert until - booking.ticket_tier.concert.moves.get().moved_at == RETURN_AFTER_MOVE
    assert booking.cancellable_at(until - A_MINUTE)
    assert not booking.cancellable_at(until)
    with pytest.raises(NotCancellable):
        cancel(booking, now=until)
    cancel(booking, now=now)
    assert booking.status == "CANCELLED"
    assert booking.refunds.get().amount == booking.total_price


def test_the_page_and_the_api_give_the_tickets_back_too(as_ann, ann, booking):
    booking = has_begun_earlier(booking, moved_before=timedelta(days=3))
    words = in_words(booking.returnable_until, booking.ticket_tier.concert.time_zone)
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert f"you can give your tickets back until {words} ," in says
    assert "Cancel all or some tickets" in says
    answer = Api(ann).post({}, f"/{booking.pk}/cancellation")
    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")


def test_a_move_of_longer_ago_gives_no_more_time(as_ann, booking):
    booking = has_begun_earlier(booking, moved_before=timedelta(days=15))
    assert not booking.cancellable_at(timezone.now())
    assert "can give your tickets back" not in main_of(as_ann.get(f"/bookings/{booking.pk}/"))


def test_whoever_was_there_on_the_date_they_knew_cannot_return_afterwards(booking):
    concert = booking.ticket_tier.concert
    move(concert, venue="Arena")
    booking = Booking.objects.with_details().get(pk=booking.pk)
    assert booking.returnable_until == concert.date
    assert not booking.cancellable_at(concert.date)


def test_whoever_booked_after_the_move_has_the_usual_rule(ann, tier, book):
    move(tier.concert, date=timezone.now() + A_DAY, now=later(-2))
    booking = book(ann, tier)
    assert booking.returnable_until == tier.concert.date


def test_until_it_begins_a_booking_asks_for_no_moves(booking, django_assert_num_queries):
    booking = Booking.objects.with_details().get(pk=booking.pk)
    with django_assert_num_queries(0):
        assert booking.cancellable_at(timezone.now())


def test_the_mail_says_until_when_tickets_can_be_given_back(booking):
    concert = booking.ticket_tier.concert
    move(concert, date=timezone.now() + 3 * A_DAY)
    text = compose(Mail.objects.get(kind="moved")).body
    booking = Booking.objects.with_details().get(pk=booking.pk)
    until = in_words(booking.returnable_until, concert.time_zone)
    assert booking.returnable_until > concert.date
    assert f"on the page of your booking until {until}" in " ".join(text.split())
