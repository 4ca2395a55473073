"""To fulfil a booking: make its tickets and post the mail with them, after the sale and outside its way.

A sale writes nothing for it. What there is to do is asked of the rows, `TO_FULFIL` in
bookings/models/states.py, by the worker every two seconds (`fulfil_waiting`), and for one booking when its
customer opens it before that (`fulfil`). Whoever comes first has locked the booking, so it gets one set of
tickets and one mail.

A booking that failed after its customer had been told "not known yet" gets no tickets, and a mail that says
so.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, transaction
from django.db.models import Q

from bookings.models import BEFORE_TICKETS, TO_FULFIL, Booking, BookingQuerySet
from mail import outbox
from ticketbook.postgres.statements import execute
from tickets.codes import new_code
from tickets.errors import NotConfirmed
from tickets.models import Ticket

logger = logging.getLogger(__name__)

TICKETS, DECLINED = "tickets", "declined"  # kinds of mail

# In one run of the worker. So a rush is followed at a pace that leaves the sale its machine.
AT_ONCE = 100

# Bookings that may lack tickets: also those from before there were tickets, which no worker looks for.
MAY_LACK_TICKETS = TO_FULFIL | Q(status="CONFIRMED", fulfilled_at=BEFORE_TICKETS)


def fulfil_waiting(*, now: datetime, limit: int = AT_ONCE) -> int:
    """Fulfil up to `limit` bookings, the oldest first. Returns how many. Several workers share them.

    A booking that cannot be fulfilled is logged and keeps none of the others waiting.
    """
    waiting = Booking.objects.to_fulfil().order_by("pk")
    if not waiting.exists():  # the usual case, answered without a transaction
        return 0
    try:
        return _fulfil_some(waiting, now=now, limit=limit)
    except (IntegrityError, DataError):
        each = list(waiting.values_list("pk", flat=True)[:limit])
        return sum(_fulfil_alone(waiting.filter(pk=pk), pk, now=now) for pk in each)


def _fulfil_some(waiting: BookingQuerySet, *, now: datetime, limit: int) -> int:
    with transaction.atomic(durable=True):
        bookings = _locked(waiting, skip_locked=True)[:limit]
        return make_and_tell(list(bookings), now=now)


def _fulfil_alone(waiting: BookingQuerySet, pk: UUID, *, now: datetime) -> int:
    try:
        return _fulfil_some(waiting, now=now, limit=1)
    except (IntegrityError, DataError):
        logger.exception("The booking %s cannot be fulfilled", pk)
        return 0


def fulfil(booking: Booking, *, now: datetime) -> list[Ticket]:
    """The tickets of a confirmed booking, which are made now if nobody has made them. Raises NotConfirmed.

    If the worker makes them at this moment, this waits for it.
    """
    if booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    if booking.fulfilled_at in {None, BEFORE_TICKETS}:
        with transaction.atomic(durable=True):
            mine = Booking.objects.filter(MAY_LACK_TICKETS, pk=booking.pk)
            make_and_tell(list(_locked(mine)), now=now)
        booking.refresh_state()
        if booking.status != Booking.Status.CONFIRMED:  # it was cancelled meanwhile
            raise NotConfirmed
    return tickets_of(booking)


def tickets_of(booking: Booking) -> list[Ticket]:
    """The tickets that were made for a booking, by number."""
    tickets = list(Ticket.objects.filter(booking=booking).order_by("number"))
    for ticket in tickets:
        ticket.booking = booking  # whose relations may be loaded
    return tickets


def _locked(bookings: BookingQuerySet, *, skip_locked: bool = False) -> BookingQuerySet:
    own_rows = bookings.select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)
    return own_rows.select_related("user").prefetch_related("returns")


def make_and_tell(bookings: Sequence[Booking], *, now: datetime) -> int:
    """Fulfil these bookings, which the caller has locked. Returns how many there are."""
    if not bookings:
        return 0
    _make([booking for booking in bookings if booking.status == Booking.Status.CONFIRMED], now=now)
    Booking.objects.filter(pk__in=[b.pk for b in bookings]).update(fulfilled_at=now)
    outbox.post_all(
        outbox.Post(kind=_kind(booking), about=booking.pk, to=booking.user.email)
        for booking in bookings
        if booking.fulfilled_at != BEFORE_TICKETS
    )
    return len(bookings)


def _kind(booking: Booking) -> str:
    return TICKETS if booking.status == Booking.Status.CONFIRMED else DECLINED


INSERT = """
INSERT INTO tickets_ticket (booking_id, number, code, returned_at)
SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::text[], %s::timestamptz[])
"""


def _make(bookings: Sequence[Booking], *, now: datetime) -> None:
    # Tickets that were returned before are made too, so that the numbers have no gaps.
    rows = [
        (booking.pk, number, new_code(), None if number in kept else now)
        for booking in bookings
        for kept in [set(booking.kept_numbers)]
        for number in range(1, booking.quantity + 1)
    ]
    if rows:
        execute(INSERT, [list(column) for column in zip(*rows, strict=True)])
