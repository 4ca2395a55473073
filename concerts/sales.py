"""How a sale stands, in the words of a page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from concerts.models import Concert, TicketTier
from ticketbook.zones import in_words


def why_not_on_sale(concert: Concert, now: datetime) -> str:
    """A sentence about a concert that does not sell at this moment, with times by the clock of its venue."""
    opens, closes, zone = concert.sales_open_at, concert.sales_close_at, concert.time_zone
    if concert.status == Concert.Status.CANCELLED:
        return "It has been called off."
    if concert.date <= now:
        return f"It began on {in_words(concert.date, zone)}."
    if opens is not None and now < opens:
        return f"Sales open on {in_words(opens, zone)}."
    if closes is not None and closes <= now:
        return f"Sales ended on {in_words(closes, zone)}."
    return ""


FEW = 20  # tickets of a concert; if no more are left, the list says so
LAST = 10  # tickets of a tier; if no more are left, the concert's page says that they are the last


class Phase(StrEnum):
    DRAFT = "draft"  # only staff see its page
    CALLED_OFF = "called_off"
    BEGUN = "begun"  # the concert itself
    LATER = "later"  # sales have not opened, or there is nothing to sell yet
    CLOSED = "closed"  # sales ended before the concert
    SOLD_OUT = "sold_out"
    HELD = "held"  # nothing is left, but payments are open, and their tickets may come back
    FEW_LEFT = "few_left"
    OPEN = "open"


@dataclass(frozen=True)
class Held:
    """Tickets of a tier that are taken while their payment is open; when the first and the last hold end."""

    tickets: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Offer:
    """A tier on the page of its concert. `has` is how many of its tickets the customer has who looks."""

    tier: TicketTier
    now: datetime
    held: Held | None = None
    has: int = 0

    @property
    def left(self) -> int:
        return self.tier.available_quantity

    @property
    def is_last(self) -> bool:
        return self.left <= LAST

    @property
    def may_have(self) -> int | None:
        """How many more tickets the limit per customer allows; None if there is no limit."""
        limit = self.tier.max_per_customer
        return None if limit is None else max(limit - self.has, 0)

    @property
    def is_gone(self) -> bool:
        """Whether this customer can book none of them at this moment."""
        return not self.left or self.may_have == 0

    @property
    def back_by(self) -> datetime | None:
        """The full minute by which the first hold ends; None if that is over: the gateway is asked then."""
        by = _full_minute(self.held.first) if self.held else self.now
        return by if by > self.now else None

    @property
    def all_back_by(self) -> bool:
        """Whether all holds end by `back_by`."""
        return self.held is not None and self.back_by == _full_minute(self.held.last)


def _full_minute(at: datetime) -> datetime:
    begun = at.replace(second=0, microsecond=0)
    return begun if begun == at else begun + timedelta(minutes=1)


@dataclass(frozen=True)
class Sale:
    """The sale of a concert at one moment. The concert comes with its tiers."""

    concert: Concert
    now: datetime
    held: Mapping[UUID, Held] = field(default_factory=dict)  # by tier, of those that have none left
    has: Mapping[UUID, int] = field(default_factory=dict)  # by tier, the tickets of who looks

    @property
    def offers(self) -> list[Offer]:
        return [
            Offer(tier, self.now, self.held.get(tier.pk), self.has.get(tier.pk, 0))
            for tier in self.tiers
        ]

    @property
    def tiers(self) -> list[TicketTier]:
        return list(self.concert.ticket_tiers.all())

    @property
    def tickets_left(self) -> int:
        return sum(tier.available_quantity for tier in self.tiers)

    @property
    def phase(self) -> Phase:
        if self.concert.status == Concert.Status.DRAFT:
            return Phase.DRAFT
        if self.concert.status == Concert.Status.CANCELLED:
            return Phase.CALLED_OFF
        if self.concert.date <= self.now:
            return Phase.BEGUN
        opens = self.concert.sales_open_at
        if not self.tiers or (opens is not None and self.now < opens):
            return Phase.LATER
        if not self.concert.sells_at(self.now):
            return Phase.CLOSED
        if not self.tickets_left:
            return Phase.HELD if self.held else Phase.SOLD_OUT
        return Phase.FEW_LEFT if self.tickets_left <= FEW else Phase.OPEN

    @property
    def sells(self) -> bool:
        return self.phase in {Phase.FEW_LEFT, Phase.OPEN}

    @property
    def has_form(self) -> bool:
        """Whether one can choose tickets: to book them now, when sales open, or when some come back."""
        return self.sells or self.phase is Phase.HELD or (self.waits and bool(self.tiers))

    @property
    def waits(self) -> bool:
        """Whether sales open later, at a time that is known."""
        return self.phase is Phase.LATER and self.opens_in is not None

    @property
    def opens_in(self) -> float | None:
        """Seconds until sales open; None if they have, or if nobody knows when."""
        return self._seconds_until(self.concert.sales_open_at)

    @property
    def ends_in(self) -> float | None:
        """Seconds until sales end, at the latest when the concert begins; None if they have."""
        ends = (self.concert.sales_close_at, self.concert.date)
        return self._seconds_until(min(at for at in ends if at is not None))

    def _seconds_until(self, at: datetime | None) -> float | None:
        # They only count down for a concert that will be sold.
        if at is None or at <= self.now or self.concert.status != Concert.Status.PUBLISHED:
            return None
        return (at - self.now).total_seconds()

    @property
    def times(self) -> str:
        """The times of the sale as one text, which an open page compares with its own."""
        concert = self.concert
        times = (concert.sales_open_at, concert.sales_close_at, concert.date)
        return " ".join("-" if at is None else f"{at.timestamp():.0f}" for at in times)

    @property
    def from_price(self) -> Decimal | None:
        """The cheapest ticket that is available, or the cheapest of all if none is."""
        left = [tier.price for tier in self.tiers if tier.available_quantity]
        return min(left or [tier.price for tier in self.tiers], default=None)


# Asked which tickets of these tiers are held. The app that sells adds its answer (bookings/apps.py).
held_of: list[Callable[[Sequence[TicketTier]], Mapping[UUID, Held]]] = []


def sales_of(concerts: Iterable[Concert], now: datetime) -> list[Sale]:
    """How these sales stand. The concerts come with their tiers.

    It asks what is held only if one of them has nothing left, and then once for all of them.
    """
    sales = [Sale(concert, now) for concert in concerts]
    gone = [tier for sale in sales if sale.phase is Phase.SOLD_OUT for tier in sale.tiers]
    if not gone:
        return sales
    held = {tier: its for ask in held_of for tier, its in ask(gone).items()}
    return [_with_held(sale, held) for sale in sales]


def _with_held(sale: Sale, held: Mapping[UUID, Held]) -> Sale:
    own = {tier.pk: held[tier.pk] for tier in sale.tiers if tier.pk in held}
    return replace(sale, held=own) if own else sale
