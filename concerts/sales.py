"""How a sale stands, in the words of a page."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

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


FEW = 20  # tickets; if no more are left, the page says so


class Phase(StrEnum):
    CALLED_OFF = "called_off"
    BEGUN = "begun"  # the concert itself
    LATER = "later"  # sales have not opened, or there is nothing to sell yet
    CLOSED = "closed"  # sales ended before the concert
    SOLD_OUT = "sold_out"
    FEW_LEFT = "few_left"
    OPEN = "open"


@dataclass(frozen=True)
class Sale:
    """The sale of a concert at one moment. The concert comes with its tiers."""

    concert: Concert
    now: datetime

    @property
    def tiers(self) -> list[TicketTier]:
        return list(self.concert.ticket_tiers.all())

    @property
    def tickets_left(self) -> int:
        return sum(tier.available_quantity for tier in self.tiers)

    @property
    def phase(self) -> Phase:
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
            return Phase.SOLD_OUT
        return Phase.FEW_LEFT if self.tickets_left <= FEW else Phase.OPEN

    @property
    def sells(self) -> bool:
        return self.phase in {Phase.FEW_LEFT, Phase.OPEN}

    @property
    def next_moment(self) -> datetime | None:
        """When the clock changes how the sale stands: it opens, it ends, or the concert begins."""
        if self.concert.status != Concert.Status.PUBLISHED:
            return None
        moments = (self.concert.sales_open_at, self.concert.sales_close_at, self.concert.date)
        return min((at for at in moments if at is not None and at > self.now), default=None)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until `next_moment`."""
        at = self.next_moment
        return None if at is None else (at - self.now).total_seconds()

    @property
    def from_price(self) -> Decimal | None:
        """The cheapest ticket that is available, or the cheapest of all if none is."""
        left = [tier.price for tier in self.tiers if tier.available_quantity]
        return min(left or [tier.price for tier in self.tiers], default=None)
