"""Sales and money by day, in the time zone of the house (TIME_ZONE).

| figure | what it counts | on the day of |
|---|---|---|
| sold, house, artist, door, free, in cash | tickets and prices of paid bookings (counting.py) | the booking |
| late | money that came after its tickets had gone back | its refund, which is made when it comes |
| sent back, back in cash | refunds that were sent; those that staff handed over are apart | the sending |

A booking that is cancelled, or a part of it, stays in what was sold that day. What goes back counts on its
own day. So an old day changes no more once all its holds are settled. Then it is closed: a job keeps its
figures, because to count a million bookings takes a second. All other days are counted each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db.models import DateTimeField, F, Func, IntegerField, Q, Sum, Value

from backoffice.counting import PAID, SALES
from backoffice.models import ClosedDay
from bookings.gateways.named import CASH
from bookings.models import Booking, Refund
from ticketbook.zones import local, moments

SHOWN = 30  # days, today included

# So long after its end nothing is under way any more that belongs to a day.
AT_REST_AFTER = timedelta(hours=1)

FIGURES = [*SALES, "late_money", "sent_back", "cash_back"]
IN_CASH = Q(booking__gateway=CASH)

SENT = {
    "sent_back": Sum("amount", filter=~IN_CASH, default=Decimal(0)),
    "cash_back": Sum("amount", filter=IN_CASH, default=Decimal(0)),
}


@dataclass
class Day:
    begins_at: datetime
    ends_at: datetime
    on: date
    sold_tickets: int = 0
    sold_money: Decimal = Decimal(0)
    house_tickets: int = 0
    artist_tickets: int = 0
    door_tickets: int = 0
    door_money: Decimal = Decimal(0)
    free_tickets: int = 0
    late_money: Decimal = Decimal(0)
    sent_back: Decimal = Decimal(0)
    cash_back: Decimal = Decimal(0)
    is_closed: bool = field(default=False, compare=False)

    @property
    def given_tickets(self) -> int:
        """House, artist and free tickets, which the chart shows as one."""
        return self.house_tickets + self.artist_tickets + self.free_tickets

    @property
    def taken(self) -> Decimal:
        """All money that came by the site, the late too. What was paid in cash is apart."""
        return self.sold_money + self.late_money


def days_until(now: datetime, count: int = SHOWN) -> list[Day]:
    """The last days with their figures, the first one first. The last one is today."""
    days = _with_closed(_days(now, count))
    _count([day for day in days if not day.is_closed])
    return days


def close_days(now: datetime, count: int = SHOWN) -> int:
    """Keep the figures of days that cannot change any more. Returns how many are new."""
    # They are counted after that is known. Otherwise a hold that is settled in between would be missing.
    new = [
        day for day in _with_closed(_days(now, count)) if not day.is_closed and _is_over(day, now)
    ]
    _count(new)
    for day in new:
        figures = {name: getattr(day, name) for name in FIGURES}
        ClosedDay.objects.update_or_create(
            begins_at=day.begins_at, defaults=figures | {"ends_at": day.ends_at}
        )
    return len(new)


def forget() -> None:
    """Count all days anew. Call it after bookings were written into the past."""
    ClosedDay.objects.all().delete()


def _days(now: datetime, count: int) -> list[Day]:
    today = local(now, settings.TIME_ZONE).date()
    dates = [today + timedelta(days=n) for n in range(1 - count, 2)]
    begins = [_midnight(each) for each in dates]
    return [Day(a, b, on) for (a, b), on in zip(pairwise(begins), dates, strict=False)]


def _midnight(day: date) -> datetime:
    # Where clocks go forward at midnight, the day begins at one o'clock.
    wall = datetime.combine(day, time())
    while not (found := moments(wall, settings.TIME_ZONE)):
        wall += timedelta(minutes=15)
    return found[0]


def _with_closed(days: list[Day]) -> list[Day]:
    kept = ClosedDay.objects.filter(begins_at__gte=days[0].begins_at).in_bulk()
    for day in days:
        if (closed := kept.get(day.begins_at)) and closed.ends_at == day.ends_at:
            day.is_closed = True
            for name in FIGURES:
                setattr(day, name, getattr(closed, name))
    return days


def _is_over(day: Day, now: datetime) -> bool:
    # A hold that is still open may be paid, and counts on its day then.
    holds = Booking.objects.pending().filter(
        created_at__gte=day.begins_at, created_at__lt=day.ends_at
    )
    return day.ends_at <= now - AT_REST_AFTER and not holds.exists()


def _count(days: Sequence[Day]) -> None:
    """Fill in the figures of these days, which are in order of time."""
    if not days:
        return
    by_begin = {day.begins_at: day for day in days}
    # Between two days that are counted there may be closed ones, whose rows fall into buckets of their own.
    begins = sorted({edge for day in days for edge in (day.begins_at, day.ends_at)})
    first, last = begins[0], begins[-1]
    edges = Value(begins, output_field=ArrayField(DateTimeField()))
    during = {"created_at__gte": first, "created_at__lt": last}
    late = Refund.objects.filter(reason=Refund.Reason.LATE, **during)
    sent = Refund.objects.filter(status=Refund.Status.SENT, sent_at__gte=first, sent_at__lt=last)
    for rows, figures, dated in (
        (
            Booking.objects.made_between(first).filter(PAID, created_at__lt=last),
            SALES,
            "created_at",
        ),
        (late, {"late_money": Sum("amount")}, "created_at"),
        (sent, SENT, "sent_at"),
    ):
        bucket = Func(F(dated), edges, function="width_bucket", output_field=IntegerField())
        found: Any = rows.order_by().values(bucket=bucket).annotate(**figures)
        for row in found:
            if day := by_begin.get(begins[row.pop("bucket") - 1]):
                for name, value in row.items():
                    setattr(day, name, value)
