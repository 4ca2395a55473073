"""What staff type to find bookings: a number, an address, a name, a concert.

Customers and concerts are found first, and then their bookings by the index. The planner would read all
bookings for a join.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from django.db.models import Q

from accounts.models import User
from bookings.models import Booking, GuestSlip
from bookings.numbers import read_number
from concerts.models import Concert, TicketTier

Each = TypeVar("Each")

MOST = 100  # customers, forms of guests, or concerts that a search may mean

# How apps above find bookings by something exact of theirs. Each returns None for any other text.
also_found: list[Callable[[str], Sequence[UUID] | None]] = []


class Search:
    """The bookings that a text means. `too_many` has sentences about what was left out."""

    def __init__(self, text: str, *, concerts: bool = True) -> None:
        self.text = text.strip()
        self.too_many: list[str] = []
        self.which = self._exactly() or self._by_words(concerts)

    def _exactly(self) -> Q | None:
        if key := key_in(self.text):
            return Q(pk=key)
        # A name may look like a number or a code, so one that nobody has is looked for as a name.
        for find in (_numbered, *also_found):
            if found := find(self.text):
                return Q(pk__in=found)
        return None

    def _by_words(self, concerts: bool) -> Q:
        of_people = self._of_customers() | self._of_guests()
        return of_people | self._of_concerts() if concerts else of_people

    def _of_customers(self) -> Q:
        text = self.text
        # The names of guests belong to their bookings, one by one.
        of_account = Q(name__icontains=text, is_guest=False)
        like = Q(email__icontains=text) | of_account | Q(public_id=text)
        found = User.objects.filter(like).order_by("email").values_list("pk", flat=True)
        return Q(user__in=self._some(list(found[: MOST + 1]), "customers", "the address or name"))

    def _of_guests(self) -> Q:
        """By every name that a guest has typed. It belongs to one booking only."""
        if "@" in self.text:
            return Q(pk__in=[])
        named = GuestSlip.objects.filter(name__icontains=self.text).order_by()
        found = list(named.values_list("address", "idempotency_key", "booking")[: MOST + 1])
        found = self._some(found, "names of guests", "the name")
        guests = User.objects.guests().filter(email__in={address for address, _, _ in found})
        moved = [booking for _, _, booking in found if booking]
        return Q(
            user__in=list(guests.values_list("pk", flat=True)),
            idempotency_key__in=[key for _, key, _ in found],
        ) | Q(pk__in=moved)

    def _of_concerts(self) -> Q:
        matching = Concert.objects.matching(self.text).order_by()
        found = self._some(list(matching.values_list("pk", flat=True)[: MOST + 1]), "concerts")
        tiers = TicketTier.objects.filter(concert__in=found).order_by()
        return Q(ticket_tier__in=list(tiers.values_list("pk", flat=True)))

    def _some(self, found: list[Each], what: str, of: str = "its name") -> list[Each]:
        if len(found) > MOST:
            self.too_many.append(f"More than {MOST} {what} are like that. Type more of {of}.")
        return found[:MOST]


def _numbered(text: str) -> list[UUID] | None:
    number = read_number(text)
    return list(Booking.objects.numbered(number).values_list("pk", flat=True)) if number else None


def key_in(text: str) -> UUID | None:
    """The id that somebody has typed or pasted, if it is one."""
    with suppress(ValueError):
        return UUID(text)
    return None
