"""To place a booking: hold the tickets, charge, settle.

    POST ─▶ seen this key? ─▶ hold ─▶ charge ─▶ settle ─▶ answer

Hold and settle are one short transaction each. The charge in between runs outside of both, so a slow
gateway keeps nobody waiting, and a process that dies there leaves a hold that bookings/resolving.py
finishes.

`placing` says it once for all: it is told by its `Steps` (bookings/steps.py) how a step is made, on the
event loop together with others, or directly on the thread that called.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError

from bookings.errors import CustomerLimitReached, InsufficientTickets, RequestInProgress
from bookings.holding import Wish
from bookings.models import Booking
from bookings.payments import GatewayUnavailable, Outcome
from bookings.settling import Settlement, settle
from bookings.steps import Directly, Steps, Together, finish
from ticketbook import event_loop
from ticketbook.errors import Busy

logger = logging.getLogger(__name__)

# A buyer who meets expired holds waits for the gateway's word on this many, not on all of them.
RESOLVE_ON_DEMAND = 3


@dataclass(frozen=True, slots=True)
class Placed:
    booking: Booking
    replayed: bool  # an earlier request with this key had made it


def place(wish: Wish) -> Placed:
    """Book tickets: the answer is a CONFIRMED, a FAILED (declined) or a PENDING (no answer) booking.

    For a thread, which waits. Raises NotFound, SalesClosed, InsufficientTickets and
    CustomerLimitReached, and then nothing is stored; RequestInProgress and IdempotencyKeyReused; Busy
    or OperationalError if the database is.
    """
    if settings.BOOKING_LANES:
        return event_loop.run(placing(wish, Together()))
    return finish(placing(wish, Directly()))


async def placing(wish: Wish, steps: Steps) -> Placed:
    """The same, step by step."""
    try:
        held = await steps.hold(wish)
    except (InsufficientTickets, CustomerLimitReached):
        if not await clear_the_way(wish, steps):
            raise
        held = await steps.hold(wish)
    if held.replayed:
        return Placed(await replay(held.booking, wish, steps), replayed=True)
    return Placed(await charge_and_settle(held.booking, wish, steps), replayed=False)


_clear: dict[UUID, datetime] = {}  # tiers where nothing was found to resolve, and when


async def clear_the_way(wish: Wish, steps: Steps) -> bool:
    """Nobody may have cleaned up: holds past their time must not stand in a buyer's way.

    When a tier has sold out thousands are refused. Where one of them found no such hold, nobody looks
    again within a second.
    """
    tier_id, now = wish.ticket_tier_id, wish.now
    last = _clear.get(tier_id)
    if last is not None and abs(now - last) < timedelta(seconds=1):
        return False
    if len(_clear) >= 1000:
        _clear.clear()
    _clear[tier_id] = now  # at once: those who come while this one looks need not look as well
    holds = Booking.objects.filter(ticket_tier_id=tier_id)
    found = await steps.resolve(holds, limit=RESOLVE_ON_DEMAND, now=now)
    if found:
        _clear.pop(tier_id, None)
    return bool(found)


async def replay(booking: Booking, wish: Wish, steps: Steps) -> Booking:
    """An earlier request's booking as it stands now. Raises RequestInProgress while that one works."""
    if booking.status != Booking.Status.PENDING:
        return booking
    if booking.hold_expires_at <= wish.now:
        await steps.resolve(Booking.objects.filter(pk=booking.pk), limit=1, now=wish.now)
        await steps.call(booking.refresh_state)
    elif not booking.outcome_unknown:
        raise RequestInProgress(bookingId=booking.pk)
    return booking


async def charge_and_settle(booking: Booking, wish: Wish, steps: Steps) -> Booking:
    """Charge a new hold and settle it; without an answer it stays PENDING for the resolver."""
    try:
        outcome = await steps.charge(booking)
    except GatewayUnavailable:
        return await nobody_at_work(booking, wish, steps, due=booking.hold_expires_at)
    for _ in range(2):  # a busy moment is often over at the second try
        try:
            return await write_down(booking, outcome, wish, steps)
        except (OperationalError, InterfaceError, Busy) as exc:
            logger.warning("Booking %s: %s, but not settled", booking.pk, outcome, exc_info=exc)
    return await nobody_at_work(booking, wish, steps, due=wish.time())


async def write_down(booking: Booking, outcome: Outcome, wish: Wish, steps: Steps) -> Booking:
    settlement = Settlement(booking, outcome, wish.time())
    if await steps.settle(settlement):
        return settlement.show()
    # Somebody has settled it meanwhile, so this is late.
    return await steps.call(lambda: settle(booking, outcome, now=wish.time()))


async def nobody_at_work(booking: Booking, wish: Wish, steps: Steps, *, due: datetime) -> Booking:
    """The same key answers 202 from now on, and the resolver takes the hold when it is due."""
    settlement = Settlement(booking, None, wish.time(), due)
    try:
        if await steps.settle(settlement):
            return settlement.show()
        await steps.call(booking.refresh_state)
    except (OperationalError, InterfaceError, Busy):
        logger.exception("Booking %s: could not note that nobody is at work on it", booking.pk)
    return booking
