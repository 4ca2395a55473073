"""What is printed of real rows, while bookings and concerts change."""

import re
import uuid
from datetime import timedelta

import pytest
import vobject
from django.utils import timezone

from bookings.cancelling import cancel, return_tickets
from bookings.mails import tell_moved
from bookings.models import Booking
from concerts.calling_off import call_off
from mail.composing import compose
from mail.models import Mail
from tickets import tokens
from tickets.calendar import booking_ics
from tickets.fulfilment import fulfil, tickets_of
from tickets.pdf import tickets_pdf

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]


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


def events_of(kind):
    """The events in the file that came with the mail of this kind, and what the mail says."""
    message = compose(Mail.objects.get(kind=kind))
    files = {name: data for name, data, _ in message.attachments}
    if not files:
        return [], message.body
    return vobject.readOne(files["concert.ics"]).vevent_list, message.body


def test_the_mail_of_a_cancelled_booking_takes_the_concert_out_of_the_calendar(booking):
    before = event_of(booking)
    cancel(read_anew(booking), now=timezone.now())
    [event], text = events_of("cancelled")
    assert (event.uid.value, event.status.value) == (before.uid.value, "CANCELLED")
    assert int(event.sequence.value) > int(before.sequence.value)
    assert "in your calendar" in text


def test_the_mail_of_a_concert_that_is_called_off_does_so_too(booking):
    call_off(booking.ticket_tier.concert_id, by=None, now=timezone.now())
    [event], text = events_of("called_off")
    assert (event.uid.value, event.status.value) == (event_of(booking).uid.value, "CANCELLED")
    assert "in your calendar" in text


def test_the_mail_of_a_concert_that_moves_moves_it_in_the_calendar_for_each_booking(
    booking, ann, tier, book
):
    others = [book(ann, tier), book(ann, tier), book(ann, tier)]
    for other in others[:2]:
        fulfil(other, now=timezone.now())
    cancel(read_anew(others[1]), now=timezone.now())
    tier.concert.date += timedelta(days=1)
    tier.concert.save()
    tell_moved(concert=tier.concert)
    events, text = events_of("moved")
    kept_and_fulfilled = {event_of(each).uid.value for each in (booking, others[0])}
    assert {event.uid.value for event in events} == kept_and_fulfilled
    assert {event.dtstart.value for event in events} == {tier.concert.date.replace(microsecond=0)}
    assert "in your calendar" in text


def test_whoever_had_no_mail_with_tickets_yet_gets_no_file_that_cancels(ann, tier, book):
    cancel(book(ann, tier), now=timezone.now())
    events, text = events_of("cancelled")
    assert events == []
    assert "calendar" not in text
