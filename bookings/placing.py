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

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, transaction

from accounts.models import User
from bookings import payments
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
    SalesClosed,
)
from bookings.models import MAX_QUANTITY, Booking
from bookings.resolving import resolve, resolve_expired
from bookings.settling import STATE, settle
from concerts import stock
from concerts.models import Concert, TicketTier
from ticketbook.errors import NotFound

logger = logging.getLogger(__name__)

# A buyer who meets expired holds waits for the gateway's word on this many, not on all of them.
RESOLVE_ON_DEMAND = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a customer asks for, under the key that makes it one request however often it is sent."""

    user: User
    ticket_tier_id: UUID
    quantity: int  # 1 to 10 tickets
    idempotency_key: UUID

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise ValueError(f"quantity must be 1 to {MAX_QUANTITY}, not {self.quantity}")


@dataclass(frozen=True)
class Placed:
    booking: Booking
    replayed: bool  # an earlier request with this key had made it


def place(
    *, user: User, ticket_tier_id: UUID, quantity: int, idempotency_key: UUID, now: datetime
) -> Placed:
    """Book tickets: the answer is a CONFIRMED, a FAILED (declined) or a PENDING (no answer) booking.

    Raises NotFound, SalesClosed, InsufficientTickets and CustomerLimitReached, and then nothing is
    stored; RequestInProgress and IdempotencyKeyReused; OperationalError if the database is busy.
    """
    request = Request(
        user=user,
        ticket_tier_id=ticket_tier_id,
        quantity=quantity,
        idempotency_key=idempotency_key,
    )
    if booking := seen(request):
        return Placed(replay(booking, now=now), replayed=True)
    try:
        placed = hold(request, now=now)
    except (InsufficientTickets, CustomerLimitReached):
        # Nobody may have cleaned up: holds past their time must not stand in a buyer's way.
        if not resolve_expired(ticket_tier_id=ticket_tier_id, limit=RESOLVE_ON_DEMAND, now=now):
            raise
        placed = hold(request, now=now)
    if placed.replayed:
        return Placed(replay(placed.booking, now=now), replayed=True)
    return Placed(charge_and_settle(placed.booking, now=now), replayed=False)


def seen(request: Request) -> Booking | None:
    """The booking that this key made already. Raises IdempotencyKeyReused if it was for another."""
    booking = Booking.objects.filter(
        user=request.user, idempotency_key=request.idempotency_key
    ).first()
    if booking is None:
        return None
    if (booking.ticket_tier_id, booking.quantity) != (request.ticket_tier_id, request.quantity):
        raise IdempotencyKeyReused(bookingId=booking.pk)
    return booking


def replay(booking: Booking, *, now: datetime) -> Booking:
    """An earlier request's booking as it stands now. Raises RequestInProgress while that one works."""
    if booking.status == Booking.Status.PENDING:
        if booking.hold_expires_at <= now:
            return resolve(booking, now=now)
        if not booking.outcome_unknown:
            raise RequestInProgress(bookingId=booking.pk)
    return booking


def hold(request: Request, *, now: datetime) -> Placed:
    """Take the tickets out of stock for HOLD_SECONDS, under the tier's lock."""
    try:
        with transaction.atomic(durable=True):
            tier = stock.lock_tier(request.ticket_tier_id)
            # The same key may have got the lock first: then its booking is the answer, even if it
            # took the last tickets.
            if booking := seen(request):
                return Placed(booking, replayed=True)
            check(request, tier, now=now)
            booking = Booking.objects.create(
                user=request.user,
                ticket_tier=tier,
                quantity=request.quantity,
                unit_price=tier.price,
                total_price=tier.price * request.quantity,
                idempotency_key=request.idempotency_key,
                hold_expires_at=now + timedelta(seconds=settings.HOLD_SECONDS),
                created_at=now,
            )
            stock.take(tier, request.quantity, now=now)
            return Placed(booking, replayed=False)
    except IntegrityError as exc:
        # The same key at the same moment on another tier: booking_user_key_unique let one through.
        if "booking_user_key_unique" in str(exc) and (booking := seen(request)):
            return Placed(booking, replayed=True)
        raise


def check(request: Request, tier: TicketTier, *, now: datetime) -> None:
    """What a sale needs besides the lock: a concert on sale, stock, and the customer's limit."""
    if tier.concert.status == Concert.Status.DRAFT:
        raise NotFound
    if not tier.concert.sells_at(now):
        raise SalesClosed
    if request.quantity > tier.available_quantity:
        raise InsufficientTickets(availableQuantity=tier.available_quantity)
    if tier.max_per_customer is not None:
        has = Booking.objects.of(request.user).filter(ticket_tier=tier).holding_tickets().tickets()
        if has + request.quantity > tier.max_per_customer:
            raise CustomerLimitReached(maxPerCustomer=tier.max_per_customer, alreadyBooked=has)


def charge_and_settle(booking: Booking, *, now: datetime) -> Booking:
    """Charge a fresh hold and settle it; without an answer it stays PENDING for the resolver."""
    try:
        return settle(booking, payments.charge(booking), now=now)
    except payments.GatewayUnavailable:
        return note_unknown(booking, now=now)
    except (OperationalError, InterfaceError):
        # The charge is made and the database away: the resolver will ask and settle.
        logger.exception("Booking %s is charged but not settled yet", booking.pk)
        return booking


def note_unknown(booking: Booking, *, now: datetime) -> Booking:
    """Nobody is at work on this hold any more: the same key now answers 202 instead of 409."""
    try:
        Booking.objects.pending().filter(pk=booking.pk).update(outcome_unknown=True, updated_at=now)
        booking.refresh_from_db(fields=STATE)
    except (OperationalError, InterfaceError):
        logger.exception("Booking %s: could not note that its payment is unknown", booking.pk)
    return booking
