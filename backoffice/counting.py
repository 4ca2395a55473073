"""Which bookings count as sold. All pages of the back office count by these rules.

A booking was paid if it is CONFIRMED or CANCELLED. Its tickets count once, by its source: *house*, *artist*
and *door* tickets were booked by staff; those that customers booked on the site are *sold*, or *free* if they
have no price. Money that staff took in cash never came by the site, whatever the source, so it is apart.
"""

from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from bookings.models import Booking

Source = Booking.Source

PAID = Q(status__in=[Booking.Status.CONFIRMED, Booking.Status.CANCELLED])
SOLD = PAID & Q(unit_price__gt=0, source=Source.ONLINE)
FREE = PAID & Q(unit_price=0, source=Source.ONLINE)
IN_CASH = PAID & Q(unit_price__gt=0) & ~Q(source=Source.ONLINE)


def tickets(which: Q) -> Sum:
    return Sum("quantity", filter=which, default=0)


def prices(which: Q) -> Sum:
    return Sum("total_price", filter=which, default=Decimal(0))


SALES: dict[str, Any] = {
    "sold_tickets": tickets(SOLD),
    "sold_money": prices(SOLD),
    "house_tickets": tickets(PAID & Q(source=Source.HOUSE)),
    "artist_tickets": tickets(PAID & Q(source=Source.ARTIST)),
    "door_tickets": tickets(PAID & Q(source=Source.DOOR)),
    "door_money": prices(IN_CASH),
    "free_tickets": tickets(FREE),
}
