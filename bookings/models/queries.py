"""Which bookings: what the site, the jobs and staff ask for, in words of the business."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self
from uuid import UUID

from django.apps import apps
from django.db import models
from django.db.models import F, Q, Sum
from django.db.models.expressions import RawSQL

from accounts.models import User
from bookings.models.states import HOLDS_TICKETS, TO_FULFIL
from bookings.numbers import keys_around, number_of
from concerts.models import Concert
from ticketbook.postgres.keys import first_key_of

if TYPE_CHECKING:
    from bookings.models import Booking  # noqa: F401 - in a type below

OF_CALLED_OFF = Q(ticket_tier__concert__status=Concert.Status.CANCELLED)

# A concert that began so long ago may still be on: concerts have no time at which they end.
MAY_GO_ON = timedelta(hours=6)


# A booking is dated by the process that made it, and its key by the database, a moment before or after.
KEYS_AROUND = timedelta(minutes=10)

BOOKINGS_OF_SLIPS = """
SELECT booking.id FROM unnest(%s::uuid[], %s::int[]) AS known (slip, stops)
JOIN bookings_guestslip slip ON slip.id = known.slip AND slip.stops = known.stops
JOIN accounts_user guest ON guest.email = slip.address AND guest.is_guest
JOIN bookings_booking booking
    ON booking.user_id = guest.id AND booking.idempotency_key = slip.idempotency_key
"""


def _comes(now: datetime) -> Q:
    return Q(ticket_tier__concert__date__gt=now - MAY_GO_ON)


class BookingQuerySet(models.QuerySet["Booking"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)

    def of_person(self, user_id: UUID) -> Self:
        """Those of a customer, and of the guest or the account with the same address."""
        address = User.objects.filter(pk=user_id).values("email")
        return self.filter(user__in=User.objects.filter(email__in=address))

    def of_slips(self, slips: Mapping[UUID, int]) -> Self:
        """Those of guests that belong to these slips, if their links were stopped as often as it says."""
        known = [list(slips), list(slips.values())]
        return self.filter(pk__in=RawSQL(BOOKINGS_OF_SLIPS, known))

    def numbered(self, number: str) -> Self:
        """Those with this number (bookings/numbers.py): one, but for a rare coincidence."""
        begin, end = keys_around(number)
        keys = self.filter(pk__gte=begin, pk__lt=end).values_list("pk", flat=True)
        return self.filter(pk__in=[key for key in keys if number_of(key) == number])

    def made_between(self, begin: datetime, end: datetime | None = None) -> Self:
        """Bookings from `begin` on, and before `end`. The key finds them: there is no index on the time."""
        made = self.filter(pk__gte=first_key_of(begin - KEYS_AROUND), created_at__gte=begin)
        if end is None:
            return made
        return made.filter(pk__lt=first_key_of(end + KEYS_AROUND), created_at__lt=end)

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def with_details(self) -> Self:
        return self.select_related("user", "ticket_tier__concert")

    # Each booking is in one of the next three.

    def upcoming(self, now: datetime) -> Self:
        """Those with tickets for a concert that is not over yet, as far as one can tell; soonest first."""
        coming = self.holding_tickets().exclude(OF_CALLED_OFF).filter(_comes(now))
        return coming.order_by("ticket_tier__concert__date", "id")

    def past(self, now: datetime) -> Self:
        """Those with tickets for a concert that is over; the latest first."""
        over = self.holding_tickets().exclude(OF_CALLED_OFF).exclude(_comes(now))
        return over.order_by("-ticket_tier__concert__date", "-id")

    def ended(self) -> Self:
        """Those that were cancelled, called off or not paid; the newest first."""
        return self.filter(~HOLDS_TICKETS | OF_CALLED_OFF).newest_first()

    def to_look_at(self, now: datetime) -> Self:
        """What a customer has to know first: a payment to make, or a coming concert that was called off."""
        unpaid = Q(status="PENDING", outcome_unknown=True, called_off=False) & ~Q(action_url="")
        called_off = OF_CALLED_OFF & (Q(called_off=True) | HOLDS_TICKETS)
        either = self.filter(unpaid | (called_off & _comes(now)))
        return either.order_by("ticket_tier__concert__date", "id")

    def with_sales(self) -> Self:
        """With what `Concert.is_on_sale` looks at, after `with_details`."""
        return self.prefetch_related("ticket_tier__concert__ticket_tiers")

    def pending(self) -> Self:
        return self.filter(status="PENDING")

    def holding_tickets(self) -> Self:
        return self.filter(HOLDS_TICKETS)

    def expiry_due(self, now: datetime) -> Self:
        """Holds that no request is working on any more, so the resolver may take them."""
        return self.pending().filter(hold_expires_at__lte=now)

    def to_fulfil(self) -> Self:
        return self.filter(TO_FULFIL)

    def with_cash_to_hand_over(self) -> Self:
        due = apps.get_model("bookings", "Refund").objects.to_hand_over()
        return self.filter(pk__in=due.values("booking"))

    def tickets(self) -> int:
        kept = F("quantity") - F("returned_quantity")
        total: int = self.aggregate(tickets=Sum(kept, default=0))["tickets"]
        return total
