"""All verbs of the back office, in the order of their buttons."""

from typing import Any

from backoffice.verbs import bookings, stock
from backoffice.verbs.verb import Verb

EVERY: list[Verb[Any]] = [
    stock.AddTickets(),
    *bookings.EVERY,
]
