"""What a concert still needs before it is sold, as a list to tick off on its page in the back office."""

from dataclasses import dataclass
from datetime import datetime

from concerts.models import Concert, TicketTier
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words


@dataclass(frozen=True)
class Item:
    name: str
    is_done: bool
    words: str
    place: str  # where to do it, as the end of the address of the concert's page


def checklist(concert: Concert, now: datetime) -> list[Item]:
    tiers = list(concert.ticket_tiers.all())
    return [
        _tiers(tiers),
        _prices(tiers),
        _sales_times(concert, now),
        Item(
            "Description",
            bool(concert.description.strip()),
            "It says what people are going to hear."
            if concert.description.strip()
            else "Say what people are going to hear.",
            "#id_description",
        ),
    ]


def missing(concert: Concert, now: datetime) -> list[Item]:
    return [item for item in checklist(concert, now) if not item.is_done]


def _tiers(tiers: list[TicketTier]) -> Item:
    tickets = sum(tier.total_quantity for tier in tiers)
    if not tiers:
        words = "Add at least one tier; without one there is nothing to sell."
    elif not tickets:
        words = "No tier has tickets. Add some on the tier's page."
    else:
        number = "1 tier" if len(tiers) == 1 else f"{len(tiers)} tiers"
        words = f"{number} with {tickets:,} tickets."
    return Item("Tiers", bool(tickets), words, "#ticket_tiers-group")


def _prices(tiers: list[TicketTier]) -> Item:
    free = [tier.get_tier_type_display() for tier in tiers if not tier.price]
    prices = sorted({tier.price for tier in tiers})
    if not tiers:
        words = "Each tier needs its price."
    elif free:
        words = f"A ticket of {' and of '.join(free)} costs nothing. Is that meant?"
    elif len(prices) == 1:
        words = f"A ticket costs {money(prices[0])}."
    else:
        words = f"A ticket costs from {money(prices[0])} to {money(prices[-1])}."
    return Item("Prices", bool(tiers) and not free, words, "#ticket_tiers-group")


def _sales_times(concert: Concert, now: datetime) -> Item:
    closes = concert.sales_close_at
    is_over = concert.date <= now or (closes is not None and closes <= now)
    if is_over:
        words = f"{sale_ends(concert, now)} So nothing can be bought."
    elif concert.sales_open_at is None and concert.status != Concert.Status.PUBLISHED:
        words = "No time is set, so sales open as soon as it is published. Is that meant?"
    else:
        words = f"{sale_opens(concert, now)} {sale_ends(concert, now)}"
    is_open = concert.status == Concert.Status.PUBLISHED or concert.sales_open_at is not None
    is_done = not is_over and is_open
    return Item("Sales times", is_done, words, "#id_sales_open_at_0")


def sale_opens(concert: Concert, now: datetime) -> str:
    """A sentence about when a concert's tickets can be bought, if it is published."""
    opens, zone = concert.sales_open_at, concert.time_zone
    if opens is None and concert.status == Concert.Status.PUBLISHED:
        return "Sales opened when it was published."
    if opens is None:
        return "Sales open as soon as it is published."
    return f"Sales {'opened' if opens <= now else 'open'} on {in_words(opens, zone)}."


def sale_ends(concert: Concert, now: datetime) -> str:
    closes, zone = concert.sales_close_at, concert.time_zone
    if concert.date <= now:
        return f"The concert began on {in_words(concert.date, zone)}."
    if closes is None or concert.date <= closes:
        return f"They end when the concert begins, on {in_words(concert.date, zone)}."
    return f"They {'ended' if closes <= now else 'end'} on {in_words(closes, zone)}."
