"""Which bookings count as sold. All pages of the back office count by these rules.

A booking was paid if it is CONFIRMED or CANCELLED. Tickets without a price are *free*. Tickets that staff
sold for cash are *door*, whatever their source: their money never came by the site. All others are *sold*.
"""

from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from bookings.models import Booking

PAID = Q(status__in=[Booking.Status.CONFIRMED, Booking.Status.CANCELLED])
FREE = PAID & Q(unit_price=0)
DOOR = PAID & Q(unit_price__gt=0) & ~Q(source=Booking.Source.ONLINE)
SOLD = PAID & Q(unit_price__gt=0, source=Booking.Source.ONLINE)


def tickets(which: Q) -> Sum:
    return Sum("quantity", filter=which, default=0)


def prices(which: Q) -> Sum:
    return Sum("total_price", filter=which, default=Decimal(0))


SALES: dict[str, Any] = {
    "sold_tickets": tickets(SOLD),
    "sold_money": prices(SOLD),
    "door_tickets": tickets(DOOR),
    "door_money": prices(DOOR),
    "free_tickets": tickets(FREE),
}
