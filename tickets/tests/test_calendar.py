"""The file for a calendar, read by another library than the one that writes it."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import vobject

from tickets.calendar import booking_ics
from tickets.tests.paper import EVENING, booking_of


def read(booking):
    return vobject.readOne(booking_ics(booking).decode())


def test_a_calendar_learns_what_when_and_where():
    booking = booking_of(2, tier_type="VIP", time_zone="America/New_York")
    calendar = read(booking)
    event = calendar.vevent
    assert calendar.version.value == "2.0"
    assert calendar.method.value == "PUBLISH"
    assert event.summary.value == "Northern Lights – The Testers"
    assert event.location.value == "Town Hall"
    assert event.status.value == "CONFIRMED"
    assert event.url.value.endswith(f"/bookings/{booking.pk}/")
    assert event.description.value.splitlines()[0] == "2 × VIP"
    assert event.dtstart.value == EVENING
    assert event.dtend.value == EVENING + timedelta(hours=3)
    assert event.dtstart.value.strftime("%H:%M") == "13:30"  # by the clock of the venue


@pytest.mark.parametrize(
    ("zone", "moment", "clock"),
    [
        ("Europe/Berlin", datetime(2026, 7, 1, 18, 30, tzinfo=UTC), "20:30 +0200"),
        ("Europe/Berlin", datetime(2026, 12, 1, 18, 30, tzinfo=UTC), "19:30 +0100"),
        ("Europe/Berlin", datetime(2027, 3, 28, 0, 30, tzinfo=UTC), "01:30 +0100"),  # the night
        ("Europe/Berlin", datetime(2027, 3, 28, 1, 30, tzinfo=UTC), "03:30 +0200"),  # of change
        ("Europe/Berlin", datetime(2026, 10, 24, 20, 0, tzinfo=UTC), "22:00 +0200"),
        ("Australia/Sydney", datetime(2026, 12, 1, 9, 0, tzinfo=UTC), "20:00 +1100"),
        ("Australia/Lord_Howe", datetime(2026, 7, 1, 9, 0, tzinfo=UTC), "19:30 +1030"),
        ("America/St_Johns", datetime(2026, 7, 1, 22, 0, tzinfo=UTC), "19:30 -0230"),
        ("Africa/Casablanca", datetime(2026, 7, 1, 19, 0, tzinfo=UTC), "20:00 +0100"),
        ("Asia/Tokyo", datetime(2026, 7, 1, 10, 0, tzinfo=UTC), "19:00 +0900"),
        ("Asia/Kathmandu", datetime(2026, 7, 1, 10, 0, tzinfo=UTC), "15:45 +0545"),
        ("UTC", datetime(2026, 7, 1, 10, 0, tzinfo=UTC), "10:00 +0000"),
    ],
)
def test_the_zone_of_the_venue_comes_along(zone, moment, clock):
    data = booking_ics(booking_of(date=moment, time_zone=zone)).decode()
    # Under a name that no library has, so that the clock can come from the file only.
    nowhere = data if zone == "UTC" else data.replace(zone, f"Nowhere/{uuid4()}")
    event = vobject.readOne(nowhere).vevent
    assert event.dtstart.value.strftime("%H:%M %z") == clock
    assert event.dtstart.value == moment
    assert event.dtend.value == moment + timedelta(hours=3)
    assert (f"DTSTART;TZID={zone}:" in data) == (zone != "UTC")


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # it begins when the clock shows 02:30 once more
        datetime(2026, 10, 24, 22, 30, tzinfo=UTC),  # it ends then
    ],
)
def test_a_time_that_the_clock_shows_again_is_told_in_utc(moment):
    booking = booking_of(date=moment, time_zone="Europe/Berlin")
    event = read(booking).vevent
    assert event.dtstart.value == moment
    assert event.dtend.value == moment + timedelta(hours=3)
    assert b"TZID" not in booking_ics(booking)


@pytest.mark.parametrize("year", [2, 3, 999, 9989, 9998])
def test_a_year_far_away_is_no_error(year):
    moment = datetime(year, 12, 31, 20, 0, tzinfo=UTC)
    event = read(booking_of(date=moment, time_zone="Pacific/Auckland")).vevent
    assert event.dtstart.value == moment


@pytest.mark.parametrize(
    ("status", "concert", "told"),
    [
        ("CONFIRMED", "PUBLISHED", "CONFIRMED"),
        ("CANCELLED", "PUBLISHED", "CANCELLED"),
        ("CONFIRMED", "CANCELLED", "CANCELLED"),
        ("CANCELLED", "CANCELLED", "CANCELLED"),
    ],
)
def test_what_does_not_take_place_is_cancelled(status, concert, told):
    booking = booking_of(status=status)
    booking.ticket_tier.concert.status = concert
    assert read(booking).vevent.status.value == told


def test_a_later_file_replaces_the_earlier_one():
    booking = booking_of()
    concert = booking.ticket_tier.concert
    events = [read(booking).vevent]
    for after in (
        timedelta(milliseconds=1),
        timedelta(seconds=1),
        timedelta(hours=5),
        timedelta(days=365),
        timedelta(days=365, seconds=1),
        timedelta(days=3650),
    ):
        for row in (concert, booking):
            row.updated_at = row.created_at + after
            events.append(read(booking).vevent)
    numbers = [int(event.sequence.value) for event in events]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert numbers[-1] < 2**31
    assert len({event.uid.value for event in events}) == 1


def test_the_same_rows_make_the_same_file():
    assert booking_ics(booking_of()) == booking_ics(booking_of())


@pytest.mark.parametrize(
    "text",
    [
        'Rock, pop; jazz: and \\n \\ "blues" ^\'',
        "one\ntwo",
        "אבגד Live محمد",
        "🎸" * 75,
        "ü" * 150,
        "W" * 200,
        "END:VEVENT",
        "x\nATTENDEE:mailto:eve@example.com",
    ],
)
def test_any_text_arrives_as_it_was(text):
    booking = booking_of(name=text, venue=text)
    event = read(booking).vevent
    assert event.summary.value == f"{text} – The Testers"
    assert event.location.value == text
    assert not hasattr(event, "attendee")


def test_control_characters_are_left_out():
    booking = booking_of(venue="a\r\nb\0c\x1bd\x85e\ud800")
    assert read(booking).vevent.location.value == "a\nbcde"


def test_lines_end_and_fold_as_the_standard_says():
    data = booking_ics(booking_of(name="ü🎸" * 60, time_zone="Europe/Berlin"))
    assert data.endswith(b"END:VCALENDAR\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data)
    for line in data.split(b"\r\n"):
        assert len(line) <= 75
        line.decode()  # no character is cut in two
