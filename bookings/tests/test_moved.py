"""A concert that has moved or was called off says so on every page about a booking."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bookings.models import Booking
from bookings.tests.test_my_bookings_list import main_of
from concerts.calling_off import call_off
from concerts.models import Concert
from concerts.tests.moves import move
from tickets.fulfilment import fulfil

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

A_MINUTE = timedelta(minutes=1)


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
