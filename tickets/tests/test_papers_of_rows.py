"""What is printed of real rows, while bookings and concerts change."""

import re
import uuid
from datetime import timedelta

import pytest
import vobject
from django.utils import timezone

from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from concerts.calling_off import call_off
from tickets import tokens
from tickets.calendar import booking_ics
from tickets.fulfilment import fulfil, tickets_of
from tickets.pdf import tickets_pdf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    """Three tickets, which are made."""
    booking = book(ann, tier, 3)
    fulfil(booking, now=timezone.now())
    return booking


def read_anew(booking):
    return Booking.objects.with_details().get(pk=booking.pk)


def event_of(booking):
    return vobject.readOne(booking_ics(read_anew(booking)).decode()).vevent


def test_only_tickets_that_were_not_returned_are_printed(booking):
    def pages():
        data = tickets_pdf(read_anew(booking), tickets_of(read_anew(booking)))
        return len(re.findall(rb"/Type /Page\b", data))

    assert pages() == 3
    now = timezone.now()
    return_tickets(read_anew(booking), 1, numbers=[2], key=uuid.uuid4(), now=now)
    assert pages() == 2
    cancel(read_anew(booking), now=now)
    with pytest.raises(ValueError, match="no valid ticket"):
        pages()


def test_the_token_of_a_row_names_the_row(booking):
    for ticket in tickets_of(read_anew(booking)):
        claims = tokens.verify(ticket.token)
        assert claims.ticket == ticket.pk
        assert claims.concert == booking.ticket_tier.concert_id
        assert (claims.tier_type, claims.number) == (booking.ticket_tier.tier_type, ticket.number)


def test_calendars_follow_a_concert_that_moves_and_is_called_off(booking, tier):
    concert = tier.concert
    events = [event_of(booking)]
    for _ in range(3):
        concert.date += timedelta(days=1)
        concert.save()
        events.append(event_of(booking))
    assert {event.status.value for event in events} == {"CONFIRMED"}
    assert events[-1].dtstart.value - events[0].dtstart.value == timedelta(days=3)
    call_off(concert.pk, by=None, now=timezone.now())
    events.append(event_of(booking))
    assert events[-1].status.value == "CANCELLED"
    numbers = [int(event.sequence.value) for event in events]
    assert numbers == sorted(set(numbers))
    assert len({event.uid.value for event in events}) == 1


def test_calendars_follow_a_booking_that_is_cancelled(booking):
    before = event_of(booking)
    cancel(read_anew(booking), now=timezone.now())
    after = event_of(booking)
    assert (before.status.value, after.status.value) == ("CONFIRMED", "CANCELLED")
    assert int(after.sequence.value) > int(before.sequence.value)
