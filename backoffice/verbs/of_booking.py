"""What the verbs of a booking have in common."""

from typing import Any

from backoffice.verbs.verb import Verb
from bookings.gateways import named
from bookings.models import Booking

CHANGE = "bookings.change_booking"


def many(number: int) -> str:
    return "1 ticket" if number == 1 else f"{number} tickets"


def way_back(booking: Booking) -> str:
    if booking.gateway == named.CASH:
        return "handed over in cash by you"
    return f"sent back to {booking.user}, the way it was paid"


class OfBooking(Verb[Booking]):
    model = Booking
    permission = CHANGE

    def rows(self) -> Any:
        return Booking.objects.with_details()

    def why_not(self, row: Booking) -> str:
        if row.status == Booking.Status.CONFIRMED:
            return ""
        return f"Only a confirmed booking has tickets. This one is: {row.state_in_words}."


def told(booking: Booking) -> str:
    if not booking.user.gets_mail:
        return "Nobody is told by mail, because there is no address."
    return f"{booking.user.email} is told by mail."
