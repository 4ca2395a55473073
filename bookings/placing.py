"""To place a booking: hold the tickets, charge, settle.

    POST ─▶ seen this key? ─▶ hold ─▶ charge ─▶ settle ─▶ answer

Hold and settle are one short transaction each. The charge in between runs outside of both, so a
slow gateway keeps nobody waiting, and a process that dies there leaves a hold that bookings/
resolving.py finishes.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError

from accounts.models import User
from bookings import lanes, payments
from bookings.errors import CustomerLimitReached, InsufficientTickets, RequestInProgress
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.serving import Held, Request, Settlement
from bookings.settling import settle
from ticketbook.database import drop_dead_connection
from ticketbook.errors import Refusal

logger = logging.getLogger(__name__)

# A buyer who meets expired holds waits for the gateway's word on this many, not on all of them.
RESOLVE_ON_DEMAND = 3


@dataclass(frozen=True)
class Placed:
    booking: Booking
    replayed: bool  # an earlier request with this key had made it


def place(
    *, user: User, ticket_tier_id: UUID, quantity: int, idempotency_key: UUID, now: datetime
) -> Placed:
    """Book tickets: the answer is a CONFIRMED, a FAILED (declined) or a PENDING (no answer) booking.

    Raises NotFound, SalesClosed, InsufficientTickets and CustomerLimitReached, and then nothing is
    stored; RequestInProgress and IdempotencyKeyReused; Busy or OperationalError if the database is.
    """
    request = Request(
        user=user,
        ticket_tier_id=ticket_tier_id,
        quantity=quantity,
        idempotency_key=idempotency_key,
        now=now,
    )
    try:
        held = hold(request)
    except (InsufficientTickets, CustomerLimitReached):
        if not clear_the_way(ticket_tier_id, now=now):
            raise
        held = hold(request)
    if held.replayed:
        return Placed(replay(held.booking, now=now), replayed=True)
    return Placed(charge_and_settle(held.booking, request), replayed=False)


_clear: dict[UUID, datetime] = {}  # tiers where nothing was found to resolve, and when


def clear_the_way(tier_id: UUID, *, now: datetime) -> list[Booking]:
    """Nobody may have cleaned up: holds past their time must not stand in a buyer's way.

    When a tier has sold out thousands are refused. Where one of them found no such hold, nobody looks
    again within a second.
    """
    last = _clear.get(tier_id)
    if last is not None and abs(now - last) < timedelta(seconds=1):
        return []
    holds = Booking.objects.filter(ticket_tier_id=tier_id)
    resolved = resolve_expired(only=holds, limit=RESOLVE_ON_DEMAND, now=now)
    if not resolved:
        if len(_clear) >= 1000:
            _clear.clear()
        _clear[tier_id] = now
    return resolved


def hold(request: Request) -> Held:
    """Take the tickets out of stock for HOLD_SECONDS, or find the booking that the key made before."""
    answer = lanes.hold(request)
    if isinstance(answer, Refusal):
        raise answer
    return answer


def replay(booking: Booking, *, now: datetime) -> Booking:
    """An earlier request's booking as it stands now. Raises RequestInProgress while that one works."""
    if booking.status != Booking.Status.PENDING:
        return booking
    if booking.hold_expires_at <= now:
        resolve_expired(only=Booking.objects.filter(pk=booking.pk), limit=1, now=now)
        booking.refresh_state()
    elif not booking.outcome_unknown:
        raise RequestInProgress(bookingId=booking.pk)
    return booking


def charge_and_settle(booking: Booking, request: Request) -> Booking:
    """Charge a fresh hold and settle it; without an answer it stays PENDING for the resolver."""
    try:
        outcome = payments.charge(booking)
    except payments.GatewayUnavailable:
        return nobody_at_work(booking, request, due=booking.hold_expires_at)
    for _ in range(2):  # a busy moment is often over at the second try
        try:
            return settle_here(booking, outcome, now=request.time())
        except (OperationalError, InterfaceError) as exc:
            logger.warning("Booking %s: %s, but not settled", booking.pk, outcome, exc_info=exc)
            drop_dead_connection()  # it may have died while we waited
    return nobody_at_work(booking, request, due=request.time())


def settle_here(booking: Booking, outcome: payments.Outcome, *, now: datetime) -> Booking:
    """In the tier's lane if it takes us along, else alone."""
    lanes.settle(Settlement(booking, outcome, now))
    if booking.status == Booking.Status.PENDING:
        settle(booking, outcome, now=now)
    return booking


def nobody_at_work(booking: Booking, request: Request, *, due: datetime) -> Booking:
    """The same key answers 202 from now on, and the resolver takes the hold when it is due."""
    try:
        Booking.objects.pending().filter(pk=booking.pk).update(
            outcome_unknown=True, hold_expires_at=due, updated_at=request.time()
        )
        booking.refresh_state()
    except (OperationalError, InterfaceError):
        logger.exception("Booking %s: could not note that nobody is at work on it", booking.pk)
    return booking
