"""The number of a booking that people read out."""

import uuid
from datetime import UTC, datetime

import pytest
from django.core.management.base import CommandError

from bookings.management import staff_input
from bookings.models import Booking
from bookings.numbers import keys_around, number_of, read_number

KEY = uuid.UUID("019abcde-1234-7abc-8def-0123456789ab")


def at(moment, low=0):
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | low)


def test_a_number_is_made_of_the_second_and_the_last_bits():
    assert number_of(at(datetime(2020, 1, 1, tzinfo=UTC))) == "00000-00000"
    assert number_of(at(datetime(2020, 1, 1, 0, 0, 1, 999_000, tzinfo=UTC), 33)) == "00000-10011"
    assert number_of(KEY) == number_of(KEY)
    assert number_of(KEY) != number_of(uuid.UUID(int=KEY.int + 1))


def test_a_number_leads_to_the_second_of_its_booking():
    begin, end = keys_around(number_of(KEY))
    assert begin <= KEY < end
    assert (end.int - begin.int) >> 80 == 1000  # milliseconds
    last = at(datetime(2053, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), (1 << 62) - 1)
    begin, end = keys_around(number_of(last))
    assert begin <= last < end


@pytest.mark.parametrize(
    "typed", ["0m7q29x4rt", " OM7Q2 - 9X4RT ", "0M7Q2–9X4RT", "oM-7q-29-x4-rt"]
)
def test_a_number_is_understood_as_it_is_typed_or_heard(typed):
    assert read_number(typed) == "0M7Q2-9X4RT"


@pytest.mark.parametrize(
    "typed", ["", "ann", "0M7Q2-9X4R", "0M7Q2-9X4RTT", "0M7Q2-9X4RU", "0M7Q2 9X4R€"]
)
def test_other_texts_are_no_numbers(typed):
    assert read_number(typed) is None


@pytest.mark.django_db
def test_bookings_are_found_by_their_number(ann, tier, book, django_assert_num_queries):
    first, second = book(ann, tier), book(ann, tier)
    assert first.number != second.number
    with django_assert_num_queries(2):
        assert list(Booking.objects.numbered(first.number)) == [first]
    # The same second and the same last bits: both are found.
    twin = uuid.UUID(int=first.pk.int ^ 1 << 40)
    Booking.objects.filter(pk=second.pk).update(id=twin)
    assert {each.pk for each in Booking.objects.numbered(first.number)} == {first.pk, twin}


@pytest.mark.django_db
def test_commands_of_staff_take_the_number_too(ann, tier, book):
    booking = book(ann, tier)
    assert staff_input.booking(booking.number.lower()) == booking
    assert staff_input.booking(str(booking.pk)) == booking
    with pytest.raises(CommandError, match="There is no booking 00000-00000"):
        staff_input.booking("00000-00000")
