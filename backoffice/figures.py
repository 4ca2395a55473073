"""What sells now, and how full the next houses are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, Sum

from backoffice.counting import IN_CASH, PAID, SALES, SOLD, Source, tickets
from bookings.models import MAY_GO_ON, Booking
from concerts.models import Concert, TicketTier

LATELY = timedelta(hours=1)
MOST_TIERS = 10
MOST_CONCERTS = 10


@dataclass
class Sale:
    """What happened in the last hour, of one tier or of all of them."""

    bookings: int = 0
    sold_tickets: int = 0
    sold_money: Decimal = Decimal(0)
    house_tickets: int = 0
    artist_tickets: int = 0
    door_tickets: int = 0
    door_money: Decimal = Decimal(0)
    free_tickets: int = 0
    held_tickets: int = 0
    tier: TicketTier | None = None


@dataclass
class Lately:
    total: Sale
    sales: list[Sale]  # of the tiers that sold most, most first
    more: int  # how many further tiers there are


def lately(now: datetime) -> Lately:
    made = Booking.objects.made_between(now - LATELY).exclude(status=Booking.Status.FAILED)
    rows: Any = made.order_by().values("ticket_tier_id").annotate(**_FIGURES)
    sales = [(row.pop("ticket_tier_id"), Sale(**row)) for row in rows]
    sales.sort(key=lambda each: (-each[1].sold_tickets, -each[1].bookings, each[0]))
    shown = sales[:MOST_TIERS]
    tiers = TicketTier.objects.select_related("concert").in_bulk([tier for tier, _ in shown])
    for tier, sale in shown:
        sale.tier = tiers.get(tier)
    total = Sale(**{name: sum(getattr(each, name) for _, each in sales) for name in _FIGURES})
    return Lately(total, [sale for _, sale in shown], len(sales) - len(shown))


_FIGURES = SALES | {
    "bookings": Count("pk", filter=PAID),
    "held_tickets": tickets(Q(status=Booking.Status.PENDING)),
}


@dataclass
class Fill:
    """How full a house is, or a tier of it."""

    capacity: int
    kept_back: int
    available: int

    @property
    def taken(self) -> int:
        return self.capacity - self.kept_back - self.available

    @property
    def percent(self) -> int:
        """Rounded down, so that 100 means that nothing is left; 0 if the house has no tickets."""
        return 100 * self.taken // self.capacity if self.capacity else 0

    @property
    def percent_kept_back(self) -> int:
        return 100 * self.kept_back // self.capacity if self.capacity else 0


@dataclass
class House(Fill):
    concert: Concert


def next_houses(now: datetime) -> list[House]:
    """The published concerts that are on or come next, soonest first."""
    coming = Concert.objects.published().filter(date__gt=now - MAY_GO_ON).soonest_first()
    concerts = list(coming.only("name", "venue", "date", "time_zone")[:MOST_CONCERTS])
    tiers = TicketTier.objects.filter(concert__in=concerts).order_by().values("concert_id")
    sums = tiers.annotate(
        capacity=Sum("total_quantity"), kept=Sum("kept_back"), left=Sum("available_quantity")
    )
    by_concert = {row["concert_id"]: (row["capacity"], row["kept"], row["left"]) for row in sums}
    return [House(*by_concert.get(concert.pk, (0, 0, 0)), concert) for concert in concerts]


@dataclass
class TierFill(Fill):
    kind: str


@dataclass
class Takings:
    """What was paid for the tickets of a concert, less what was sent back or is owed.

    And how many tickets staff booked that were not returned, by their source.
    """

    online: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    house_tickets: int = 0
    artist_tickets: int = 0
    door_tickets: int = 0


@dataclass
class Standing:
    """How the sale of a concert stands. Tickets that are held count as taken."""

    tiers: list[TierFill] = field(default_factory=list)
    takings: Takings = field(default_factory=Takings)


def standings(concerts: Sequence[Concert], *, with_money: bool) -> dict[UUID, Standing]:
    """By the key of each concert; one statement for the tiers, and one for the money."""
    found = {concert.pk: Standing() for concert in concerts}
    tiers = list(TicketTier.objects.filter(concert__in=found).by_price())
    for tier in tiers:
        counters = (tier.total_quantity, tier.kept_back, tier.available_quantity)
        found[tier.concert_id].tiers.append(TierFill(*counters, tier.get_tier_type_display()))
    if with_money and tiers:
        by_key = {tier.pk: found[tier.concert_id].takings for tier in tiers}
        kept = F("total_price") - F("refunded_total")
        nothing = Decimal(0)
        sums = {
            "online": Sum(kept, filter=SOLD, default=nothing),
            "cash": Sum(kept, filter=IN_CASH, default=nothing),
            "house_tickets": _kept_of(Source.HOUSE),
            "artist_tickets": _kept_of(Source.ARTIST),
            "door_tickets": _kept_of(Source.DOOR),
        }
        paid = Booking.objects.filter(PAID, ticket_tier__in=list(by_key)).order_by()
        rows: Any = paid.values("ticket_tier_id").annotate(**sums)
        for row in rows:
            takings = by_key[row["ticket_tier_id"]]
            for name in sums:
                setattr(takings, name, getattr(takings, name) + row[name])
    return found


def _kept_of(source: str) -> Sum:
    return Sum(F("quantity") - F("returned_quantity"), filter=Q(source=source), default=0)
