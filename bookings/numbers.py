"""The number of a booking that people read out: 10 digits and letters, as 0M7Q2-9X4RT.

It is made of the booking's id, a UUIDv7, and no column or index has it. The first six signs are the second in
which the booking was made, and the others are the last bits of the id, which are random. So the bookings of a
number are found within one second of the primary key. At a rate of 100 bookings a second, one in 10,000
shares its number with another one; a search then shows both.
"""

from datetime import UTC, datetime
from uuid import UUID

from ticketbook.base32 import understood, value_of, written

SINCE = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())  # numbers repeat from 2054 on
SECONDS, RANDOM = 30, 20  # bits
LENGTH = (SECONDS + RANDOM) // 5


def number_of(key: UUID) -> str:
    """The number of the booking with this id."""
    second = (key.int >> 80) // 1000 - SINCE & (1 << SECONDS) - 1
    text = written(second << RANDOM | key.int & (1 << RANDOM) - 1, LENGTH)
    return f"{text[:5]}-{text[5:]}"


def read_number(text: str) -> str | None:
    """The number that somebody typed or heard, as we write it; None if it is none."""
    read = understood(text, LENGTH)
    return f"{read[:5]}-{read[5:]}" if read else None


def keys_around(number: str) -> tuple[UUID, UUID]:
    """The first id of the second in which the booking of a number was made, and the first one after it."""
    second = (value_of(number.replace("-", "")) >> RANDOM) + SINCE
    return UUID(int=second * 1000 << 80), UUID(int=(second + 1) * 1000 << 80)
