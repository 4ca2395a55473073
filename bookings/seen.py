"""What a customer was shown when they chose, and whether it is still so.

The booking form carries it in hidden fields, and the API's `maxTotal` is the most that a client would pay. A
tier's transaction compares it with the locked tier and the concert that it has read, so nobody is charged
for anything else.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from concerts.models import Concert, TicketTier


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that was shown and is not so any more.

    `what` is "gone" (this kind of ticket is no longer sold), "kind", "price", "date" (`before` and `now` are
    datetimes, `zone` is the one whose clock showed `before`), "venue", "name" or "artist".
    """

    what: str
    kind: str = ""  # the name of the kind of ticket, if it is known
    zone: str = ""
    before: object = None
    now: object = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was shown of a ticket. What is None was not shown, so nothing is expected of it."""

    kind: str | None = None  # a TicketTier.Type
    price: Decimal | None = None  # of one ticket
    date: datetime | None = None
    zone: str | None = None  # whose clock showed the date
    venue: str | None = None
    name: str | None = None
    artist: str | None = None
    max_total: Decimal | None = None  # the most that all tickets together may cost

    def is_still_so(self, concert: Concert, tier: TicketTier, quantity: int) -> bool:
        if self.max_total is not None and tier.price * quantity > self.max_total:
            return False
        return not any(self._changes(concert, tier))

    def changes(self, concert: Concert, tier: TicketTier | None) -> list[Change]:
        """What is not so any more. `tier` is None if it is no longer sold."""
        return list(self._changes(concert, tier))

    def changes_of_concert(self, concert: Concert) -> list[Change]:
        return list(self._changes_of_concert(concert))

    def _changes(self, concert: Concert, tier: TicketTier | None) -> Iterator[Change]:
        if tier is None:
            kind = TicketTier.Type(self.kind).label if self.kind else ""
            yield Change(what="gone", kind=kind, before=self.price)
        else:
            if self.kind is not None and self.kind != tier.tier_type:
                before, now = TicketTier.Type(self.kind).label, tier.get_tier_type_display()
                yield Change(what="kind", before=before, now=now)
            if self.price is not None and self.price != tier.price:
                kind = tier.get_tier_type_display()
                yield Change(what="price", kind=kind, before=self.price, now=tier.price)
        yield from self._changes_of_concert(concert)

    def _changes_of_concert(self, concert: Concert) -> Iterator[Change]:
        if self.date is not None and self._is_another_time(self.date, concert):
            zone = self.zone or concert.time_zone
            yield Change(what="date", zone=zone, before=self.date, now=concert.date)
        for what in ("venue", "name", "artist"):
            before, now = getattr(self, what), getattr(concert, what)
            if before not in (None, now) and _plain(before) != _plain(now):
                yield Change(what=what, before=before, now=now)

    def _is_another_time(self, date: datetime, concert: Concert) -> bool:
        # In another zone the same moment is another time on the page.
        return self.zone not in (None, concert.time_zone) or (
            date != concert.date and _minute(date) != _minute(concert.date)
        )


def _minute(at: datetime) -> datetime:
    # Pages show no seconds. Staff who save a concert's form drop its microseconds.
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def _plain(text: str) -> str:
    # Browsers change line ends. The rest looks the same to people.
    return unicodedata.normalize("NFC", " ".join(text.split()))
