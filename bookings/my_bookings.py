"""My bookings: what comes, what is over, and what was cancelled or not paid, each in pages of its own."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from accounts.models import User
from bookings.models import Booking, BookingQuerySet
from ticketbook.errors import BadParameter
from ticketbook.pagination import Page

PER_PAGE = 20
AT_FIRST = 10  # past and ended bookings below the upcoming ones
MOST_NEWS = 20

BY_DATE = "ticket_tier__concert__date"


@dataclass(frozen=True)
class Section:
    """One kind of a customer's bookings."""

    name: str  # in the address, as ?show=…
    title: str
    of: Callable[[BookingQuerySet, datetime], BookingQuerySet]
    keys: tuple[str, ...]  # of its order
    more: str  # the link to its next page

    def page(
        self, mine: BookingQuerySet, request: HttpRequest, now: datetime, limit: int
    ) -> Page[Booking]:
        rows = self.of(mine, now)
        return Page(rows, request, keys=self.keys, limit=limit, also={"show": self.name})


SECTIONS = {
    section.name: section
    for section in (
        Section(
            "upcoming",
            "Upcoming",
            # For a sentence on each that has moved.
            lambda mine, now: mine.upcoming(now).prefetch_related("ticket_tier__concert__moves"),
            (BY_DATE, "id"),
            "Later ones",
        ),
        Section("past", "Past", BookingQuerySet.past, (f"-{BY_DATE}", "-id"), "Earlier ones"),
        Section(
            "ended",
            "Cancelled or not paid",
            lambda mine, now: mine.ended(),
            ("-id",),
            "Earlier ones",
        ),
    )
}


def my_bookings(request: HttpRequest, user: User, *, now: datetime) -> dict[str, Any]:
    """What the page shows: the beginning of every section, or a page of the one in ?show=….

    `news` and `moved` are what to say on top. Raises BadParameter for an address that no page of ours
    links to.
    """
    mine = Booking.objects.of(user).with_details()
    only = request.GET.get("show") or ("upcoming" if "cursor" in request.GET else None)
    if only is None:
        shown = list(SECTIONS.values())
    elif only in SECTIONS:
        shown = [SECTIONS[only]]
    else:
        raise BadParameter("show", "Show upcoming, past or ended.")
    pages = []
    for section in shown:
        whole = only or section.name == "upcoming"
        page = section.page(mine, request, now, PER_PAGE if whole else AT_FIRST)
        pages.append((section, page))
    rows = [booking for _, page in pages for booking in page.rows]
    return {
        "pages": pages,
        "only": only,
        "any": bool(rows),
        "news": [] if only else _first_of_each(mine.to_look_at(now)[:MOST_NEWS], _told_of),
        "moved": _first_of_each(_moved(pages), _concert_of),
    }


def _moved(pages: list[tuple[Section, Page[Booking]]]) -> list[Booking]:
    upcoming = [page.rows for section, page in pages if section.name == "upcoming"]
    return [booking for rows in upcoming for booking in rows if booking.moved]


def _concert_of(booking: Booking) -> UUID:
    concert: UUID = booking.ticket_tier.concert_id
    return concert


def _told_of(booking: Booking) -> UUID:
    # Each payment has to be made. That a concert was called off is told once.
    return booking.pk if booking.awaits_customer else _concert_of(booking)


def _first_of_each(bookings: Iterable[Booking], what: Callable[[Booking], UUID]) -> list[Booking]:
    first: dict[UUID, Booking] = {}
    for booking in bookings:
        first.setdefault(what(booking), booking)
    return list(first.values())
