"""All verbs of the back office, in the order of their buttons."""

from typing import Any

from backoffice.verbs import bookings, concerts, desk_sales, guest_list, messages, stock
from backoffice.verbs.verb import Verb

EVERY: list[Verb[Any]] = [
    concerts.Publish(),
    concerts.Unpublish(),
    concerts.Move(),
    concerts.Duplicate(),
    messages.MessageToConcert(),
    concerts.CallOff(),
    desk_sales.BookFor(),
    guest_list.GuestList(),
    stock.AddTickets(),
    stock.KeepBack(),
    stock.GiveFree(),
    messages.MessageToTier(),
    *bookings.EVERY,
]
