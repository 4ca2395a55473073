"""To place a booking: hold the tickets, charge for them, settle.

    POST ─▶ hold, or find the booking of this key ─▶ charge ─▶ settle ─▶ answer

Hold and settle are one short transaction each. The charge happens between them, outside of any
transaction, so a slow gateway holds no lock. If the process dies during the charge it leaves a hold,
which bookings/resolving.py finishes.

`aplace` tells the story once. Its `steps` say how each step is made (bookings/steps.py).
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError

from bookings import payments
from bookings.errors import (
    CustomerLimitReached,
    InsufficientTickets,
    RequestInProgress,
    TooManyUnpaid,
)
from bookings.gateways.base import ActionNeeded, GatewayUnavailable, Outcome
from bookings.models import Booking
from bookings.outcomes import settle_by
from bookings.settling import Settlement
from bookings.steps import InLanes, OnThisThread, Steps, finish
from bookings.wishes import Wish
from bookings.writing_later import write_later
from ticketbook import event_loop
from ticketbook.errors import Busy

logger = logging.getLogger(__name__)

# The buyer waits while the gateway is asked about each overdue hold, so only a few are resolved.
RESOLVE_ON_DEMAND = 3

Writing = Callable[[Steps], Awaitable[Booking]]


@dataclass(frozen=True, slots=True)
class Placed:
    booking: Booking
    replayed: bool  # an earlier request with the same key had made it


def place(wish: Wish) -> Placed:
    """Book tickets, and wait for it. For code on a thread.

    A new booking is CONFIRMED, FAILED (declined), or PENDING: its customer has to pay at `action_url`, the
    gateway gave no answer, or its answer could not be written. If the same request has made a booking before,
    the result is that one as it stands now. What could not be written is written later.

    Raises NotFound, SalesClosed, InsufficientTickets, CustomerLimitReached, TooManyUnpaid, or Changed
    (`price`, `total`) if what the wish has seen is not so any more; nothing is stored then. Raises
    RequestInProgress while the same request is at work, and IdempotencyKeyReused if the key belongs to
    another request. Raises Busy or OperationalError if the database is busy; there may be a hold then, which
    the resolver takes (bookings/writing_later.py).
    """
    if settings.BOOKING_LANES and wish.staff is None:
        return event_loop.run(aplace(wish, InLanes()))
    return finish(aplace(wish, OnThisThread()))


async def aplace(wish: Wish, steps: Steps) -> Placed:
    """Book tickets, with the results and errors of `place`."""
    try:
        held = await steps.hold(wish)
    except TooManyUnpaid:
        theirs = Booking.objects.of_person(wish.user.id)
        if not await steps.resolve(theirs, limit=RESOLVE_ON_DEMAND, now=wish.arrived_at):
            raise
        held = await steps.hold(wish)
    except (InsufficientTickets, CustomerLimitReached):
        if not await _resolve_holds_in_the_way(wish, steps):
            raise
        held = await steps.hold(wish)
    if held.replayed:
        return Placed(await _replay(held.booking, wish, steps), replayed=True)
    return Placed(await _charge_and_settle(held.booking, wish, steps), replayed=False)


_last_look: dict[UUID, datetime] = {}  # when a tier was last searched for overdue holds


async def _resolve_holds_in_the_way(wish: Wish, steps: Steps) -> bool:
    """Resolve overdue holds of the tier, whether or not a worker runs. Returns whether any was settled.

    When a tier has sold out thousands are refused. If one of them found no overdue hold, the others do
    not search again within a second.
    """
    tier_id, now = wish.ticket_tier_id, wish.arrived_at
    last = _last_look.get(tier_id)
    if last is not None and abs(now - last) < timedelta(seconds=1):
        return False
    if len(_last_look) >= 1000:
        _last_look.clear()
    _last_look[tier_id] = now  # before the search, so that nobody else begins one
    holds = Booking.objects.filter(ticket_tier_id=tier_id)
    found = await steps.resolve(holds, limit=RESOLVE_ON_DEMAND, now=now)
    if found:
        _last_look.pop(tier_id, None)
    return bool(found)


async def _replay(booking: Booking, wish: Wish, steps: Steps) -> Booking:
    """The booking of an earlier request, as it stands now.

    Raises RequestInProgress while that request is still at work.
    """
    if booking.status != Booking.Status.PENDING:
        return booking
    if booking.hold_expires_at <= wish.arrived_at:
        await steps.resolve(Booking.objects.filter(pk=booking.pk), limit=1, now=wish.arrived_at)
        await steps.call(booking.refresh_state)
    elif not booking.outcome_unknown:
        raise RequestInProgress(bookingId=booking.pk)
    return booking


async def _charge_and_settle(booking: Booking, wish: Wish, steps: Steps) -> Booking:
    """Returns the booking: settled, or PENDING if there is no answer or it cannot be written now."""
    try:
        answer = await steps.charge(booking)
    except GatewayUnavailable:
        mark = partial(_mark, booking, wish, due=booking.hold_expires_at)
        return await _leave_to_resolver(booking, steps, mark, otherwise=mark)
    write = partial(_write, booking, answer, wish)
    for _ in range(2):  # a busy moment is often over at the second try
        try:
            return await write(steps)
        except (OperationalError, InterfaceError, Busy) as exc:
            logger.warning("Booking %s: %s, but not settled", booking.pk, answer, exc_info=exc)
    mark = partial(_mark, booking, wish, due=wish.time_now())
    return await _leave_to_resolver(booking, steps, mark, otherwise=write)


async def _write(
    booking: Booking, answer: Outcome | ActionNeeded, wish: Wish, steps: Steps
) -> Booking:
    if isinstance(answer, ActionNeeded):
        return await _await_customer(booking, answer, wish, steps)
    return await settle_by(booking, answer, steps, now=wish.time_now())


async def _await_customer(
    booking: Booking, action: ActionNeeded, wish: Wish, steps: Steps
) -> Booking:
    """Keep the tickets for a customer who pays at the gateway's page. A webhook or a look-up settles it."""
    due = booking.created_at + payments.hold_length(booking.gateway)
    settlement = Settlement(booking, None, wish.time_now(), due, action)
    if await steps.settle(settlement):
        return settlement.applied()
    await steps.call(booking.refresh_state)
    return booking


async def _mark(booking: Booking, wish: Wish, steps: Steps, *, due: datetime) -> Booking:
    """From now on the booking's key answers 202, and the resolver takes it when it is due."""
    settlement = Settlement(booking, None, wish.time_now(), due)
    if await steps.settle(settlement):
        return settlement.applied()
    await steps.call(booking.refresh_state)
    return booking


async def _leave_to_resolver(
    booking: Booking, steps: Steps, mark: Writing, *, otherwise: Writing
) -> Booking:
    """`otherwise` is written as soon as the database is back, if it takes no mark now."""
    try:
        return await mark(steps)
    except (OperationalError, InterfaceError, Busy):
        logger.exception("Booking %s could not be marked for the resolver", booking.pk)
    write_later(partial(otherwise, InLanes()), until=booking.hold_expires_at)
    return booking
