"""A booked concert for the customer's calendar, as iCalendar (RFC 5545)."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import log1p

from django.conf import settings
from django.urls import reverse
from icalendar import Calendar, Event, Timezone

from bookings.models import Booking
from concerts.models import Concert
from ticketbook.zones import local

LASTS = timedelta(hours=3)  # a guess: concerts have no time at which they end
YEAR = timedelta(days=366)
# The years in which clocks can be described with a year before and after; others are told in UTC.
YEARS = range(3, 9990)


def booking_ics(booking: Booking) -> bytes:
    """The concert of a booking. A later one under the same UID replaces it, also one that says CANCELLED."""
    return bookings_ics([booking])


def bookings_ics(bookings: Sequence[Booking]) -> bytes:
    """As `booking_ics`, for some bookings of one concert."""
    start, end = _times(bookings[0].ticket_tier.concert)
    calendar = Calendar()
    calendar.add("prodid", "-//TicketBook//Tickets//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    if start.tzinfo is not UTC:
        calendar.add_component(_zone(start))
    for booking in bookings:
        calendar.add_component(_event(booking, start, end))
    return bytes(calendar.to_ical())


def _times(concert: Concert) -> tuple[datetime, datetime]:
    """Beginning and end by the clock of the venue, or in UTC if it shows one of them for the second time.

    iCalendar cannot tell the second one: a time that a clock shows twice means the first.
    """
    moments = concert.date, concert.date + LASTS
    there = [local(at, concert.time_zone) for at in moments]
    if any(at.fold or str(at.tzinfo) == "UTC" or at.year not in YEARS for at in there):
        there = [at.astimezone(UTC) for at in moments]
    return there[0], there[1]


def _event(booking: Booking, start: datetime, end: datetime) -> Event:
    concert = booking.ticket_tier.concert
    url = settings.SITE_URL + reverse("bookings:detail", args=[booking.pk])
    tickets = f"{booking.kept_quantity} × {booking.ticket_tier.get_tier_type_display()}"
    event = Event()
    event.add("uid", f"booking-{booking.pk}@ticketbook")
    event.add("dtstamp", max(concert.updated_at, booking.updated_at).astimezone(UTC))
    event.add("sequence", _age(concert) + _age(booking))
    event.add("status", "CONFIRMED" if _takes_place(booking, concert) else "CANCELLED")
    event.add("dtstart", start)
    event.add("dtend", end)
    event.add("summary", _text(f"{concert.name} – {concert.artist}"))
    event.add("location", _text(concert.venue))
    event.add("description", _text(f"{tickets}\nBooking {booking.number}\n{url}"))
    event.add("url", url)
    return event


def _takes_place(booking: Booking, concert: Concert) -> bool:
    return booking.status == Booking.Status.CONFIRMED and concert.status != Concert.Status.CANCELLED


def _age(row: Booking | Concert) -> int:
    """A number that rises with each change of the row, for SEQUENCE, which has 31 bits.

    Milliseconds since 1970 would not fit. The logarithm of a row's age at its last change does, and it rises
    with every millisecond in the first hours, and with every second in the first year.
    """
    return int(3e7 * log1p(max((row.updated_at - row.created_at).total_seconds(), 0)))


def _zone(start: datetime) -> Timezone:
    """How the clocks of the venue go in the year before the concert and in the year after it."""
    zone, day = start.tzinfo, start.date()
    assert zone is not None
    return Timezone.from_tzinfo(zone, str(zone), day - YEAR, day + YEAR)


def _text(text: str) -> str:
    """Without control characters, which iCalendar does not allow, but for line breaks."""
    return "".join(
        each for each in text if each == "\n" or unicodedata.category(each) not in {"Cc", "Cs"}
    )
