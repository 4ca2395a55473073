"""To try once more what was not paid: the same tickets, under a new key.

The new key is made of the booking that failed. A key belongs to a customer, so the customer stays the same
too: a guest's booking is tried again for the guest, even by somebody who has logged in since. So two tabs,
two browsers, a double click and the way back send one request, and the tickets are booked once. The page of
the booking that failed also knows when it was tried again.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from django.utils.crypto import salted_hmac

from bookings.guests import name_for
from bookings.models import Booking
from bookings.on_offer import held
from bookings.seen import Seen
from concerts.models import Concert
from concerts.sales import why_not_on_sale


def key_of_next(booking: Booking) -> UUID:
    # Nobody else can make it of the booking's id: a guest's key opens the booking that it makes.
    made = salted_hmac("bookings.trying_again", str(booking.pk), algorithm="sha256")
    return UUID(bytes=made.digest()[:16], version=4)


@dataclass(frozen=True)
class NextTry:
    """What the page of a booking that failed offers. The booking comes with its details."""

    booking: Booking
    now: datetime

    @property
    def key(self) -> UUID:
        return key_of_next(self.booking)

    @property
    def name(self) -> str:
        """What a guest had typed."""
        return name_for(self.booking)

    @property
    def seen(self) -> Seen:
        """What the customer chose by. If it is not so any more, they are asked before they pay."""
        return self.booking.seen_when_booked

    @cached_property
    def made(self) -> Booking | None:
        """The booking that came of it, if it was tried already. It may have gone to another address since."""
        mine = Booking.objects.filter(user=self.booking.user_id, idempotency_key=self.key)
        handed_over = Booking.objects.filter(
            slips__address=self.booking.user.email, slips__idempotency_key=self.key
        )
        return handed_over.first() or mine.first()

    @property
    def left(self) -> int:
        """How many tickets of this kind can be bought now."""
        return self.booking.ticket_tier.available_quantity

    @cached_property
    def held(self) -> bool:
        """Whether others hold tickets of this kind, which may come back."""
        return bool(held([self.booking.ticket_tier]))

    @property
    def closed(self) -> str:
        """Why the concert does not sell now; empty if it does."""
        return why_not_on_sale(self.booking.ticket_tier.concert, self.now)


def next_try(booking: Booking, *, now: datetime) -> NextTry | None:
    """None for a booking that did not fail, and one whose concert customers cannot see any more."""
    hidden = booking.ticket_tier.concert.status == Concert.Status.DRAFT
    if booking.status != Booking.Status.FAILED or hidden or booking.handed_over:
        return None
    return NextTry(booking, now)
