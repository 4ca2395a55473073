"""Serve requests for one tier in one transaction, under one lock of it.

This is the only place that takes tickets out of stock. One request is a batch of one: with lanes
(bookings/lanes.py) or without them, the same statements decide.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum

from accounts.models import User
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    SalesClosed,
)
from bookings.models import MAX_QUANTITY, Booking
from bookings.payments import Outcome
from concerts import stock
from concerts.models import Concert, TicketTier
from ticketbook.errors import NotFound, Refusal


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a customer asks for, under the key that makes it one request however often it is sent."""

    user: User
    ticket_tier_id: UUID
    quantity: int  # 1 to 10 tickets
    idempotency_key: UUID
    now: datetime  # when it came
    came: float = field(default_factory=time.monotonic, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise ValueError(f"quantity must be 1 to {MAX_QUANTITY}, not {self.quantity}")

    def time(self) -> datetime:
        """What time it is for this request: it may have waited for the lock or the gateway."""
        return self.now + timedelta(seconds=time.monotonic() - self.came)

    @property
    def identity(self) -> tuple[UUID, UUID]:
        return self.user.pk, self.idempotency_key


# What the gateway's word makes of a hold: status, payment status, failure reason.
STATES = {
    Outcome.SUCCEEDED: (Booking.Status.CONFIRMED, Booking.PaymentStatus.SUCCESS, ""),
    Outcome.DECLINED: (
        Booking.Status.FAILED,
        Booking.PaymentStatus.FAILED,
        Booking.FailureReason.DECLINED,
    ),
}


@dataclass
class Settlement:
    """A hold and the gateway's word on it: SUCCEEDED or DECLINED."""

    booking: Booking
    outcome: Outcome
    now: datetime
    written: bool = False  # in a transaction that may still fail

    def show(self) -> None:
        """After the commit: let the booking say what was written."""
        if self.written:
            state = STATES[self.outcome]
            self.booking.status, self.booking.payment_status, self.booking.failure_reason = state
            self.booking.updated_at = self.now


@dataclass(frozen=True)
class Held:
    """What a request gets: a fresh hold, or the booking that its key had made before."""

    booking: Booking
    replayed: bool


Answer = Held | Refusal


def hold_and_settle(
    tier_id: UUID, requests: Sequence[Request], settlements: Sequence[Settlement] = ()
) -> list[Answer]:
    """Hold tickets for each request, first come first served; the answers are in the same order.

    Settlements ride along and change their bookings in place; one whose booking is no longer PENDING
    in the database is left as it is (bookings/settling.py knows what to do with it). Raises what the
    database raises, and then nothing has changed for anybody.
    """
    with transaction.atomic(durable=True):
        try:
            tier = stock.lock_tier(tier_id)
        except NotFound as missing:
            return [seen(request) or missing for request in requests]
        now = max([r.time() for r in requests] + [s.now for s in settlements])
        returned = settle_all(settlements)
        desk = Desk(tier, requests, returned=returned)
        answers = [desk.serve(request) for request in requests]
        taken = desk.write() - returned
        if taken > 0:
            stock.take(tier, taken, now=now)
        elif taken < 0:
            stock.give_back(tier, -taken, now=now)
    for settlement in settlements:
        settlement.show()
    return [desk.final(answer) for answer in answers]


class Desk:
    """Serves requests one after the other from what is left of a locked tier, then writes it down."""

    def __init__(self, tier: TicketTier, requests: Sequence[Request], *, returned: int) -> None:
        self.tier = tier
        self.left = tier.available_quantity + returned
        self.known = bookings_of_keys(requests)
        self.has = tickets_of_users(tier, requests)
        self.fresh: list[Booking] = []

    def serve(self, request: Request) -> Answer:
        # The key comes first: whoever waited behind the same request finds its booking, even if that
        # one took the last tickets.
        if booking := self.known.get(request.identity):
            return replayed(booking, request)
        if refusal := self.refusal(request):
            return refusal
        booking = new_booking(request, self.tier)
        self.known[request.identity] = booking
        self.fresh.append(booking)
        self.left -= request.quantity
        self.has[request.user.pk] += request.quantity
        return Held(booking, replayed=False)

    def refusal(self, request: Request) -> Refusal | None:
        """What a sale needs: a concert on sale, stock, and the customer's limit."""
        concert, limit = self.tier.concert, self.tier.max_per_customer
        if concert.status == Concert.Status.DRAFT:
            return NotFound()
        if not concert.sells_at(request.time()):
            return SalesClosed()
        if request.quantity > self.left:
            return InsufficientTickets(availableQuantity=self.left)
        has = self.has[request.user.pk]
        if limit is not None and has + request.quantity > limit:
            return CustomerLimitReached(maxPerCustomer=limit, alreadyBooked=has)
        return None

    def write(self) -> int:
        """Insert the fresh bookings; returns how many tickets they take."""
        if not self.fresh:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(
                INSERT_HOLDS,
                {
                    "tier": self.tier.pk,
                    "price": self.tier.price,
                    "users": [b.user_id for b in self.fresh],
                    "keys": [b.idempotency_key for b in self.fresh],
                    "quantities": [b.quantity for b in self.fresh],
                    "expiries": [b.hold_expires_at for b in self.fresh],
                    "times": [b.created_at for b in self.fresh],
                },
            )
            made = {(user, key): pk for pk, user, key in cursor.fetchall()}
        for booking in self.fresh:
            booking.pk = made.get((booking.user_id, booking.idempotency_key))
            booking._state.adding = False
        return sum(booking.quantity for booking in self.fresh if booking.pk)

    def final(self, answer: Answer) -> Answer:
        """The same key may have won a race on another tier: then this booking was not inserted."""
        if isinstance(answer, Held) and answer.booking.pk is None:
            return IdempotencyKeyReused()
        return answer


INSERT_HOLDS = """
INSERT INTO bookings_booking
    (user_id, ticket_tier_id, quantity, unit_price, total_price, status, payment_status,
     failure_reason, idempotency_key, hold_expires_at, outcome_unknown, created_at, updated_at)
SELECT user_id, %(tier)s, quantity, %(price)s, %(price)s * quantity, 'PENDING', 'PENDING',
       '', key, expiry, false, at, at
FROM unnest(%(users)s::uuid[], %(keys)s::uuid[], %(quantities)s::smallint[],
            %(expiries)s::timestamptz[], %(times)s::timestamptz[])
    AS request (user_id, key, quantity, expiry, at)
ON CONFLICT (user_id, idempotency_key) DO NOTHING
RETURNING id, user_id, idempotency_key
"""

FIND_KEYS = """
SELECT booking.* FROM unnest(%s::uuid[], %s::uuid[]) AS request (user_id, key)
JOIN bookings_booking booking
    ON booking.user_id = request.user_id AND booking.idempotency_key = request.key
"""

SETTLE = """
UPDATE bookings_booking booking
SET status = %(status)s, payment_status = %(payment)s, failure_reason = %(reason)s, updated_at = at
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS settlement (id, at)
WHERE booking.id = settlement.id AND status = 'PENDING'
RETURNING booking.id
"""


def bookings_of_keys(requests: Sequence[Request]) -> dict[tuple[UUID, UUID], Booking]:
    if not requests:
        return {}
    users, keys = zip(*(request.identity for request in requests), strict=True)
    found = Booking.objects.raw(FIND_KEYS, [list(users), list(keys)])
    return {(booking.user_id, booking.idempotency_key): booking for booking in found}


def tickets_of_users(tier: TicketTier, requests: Sequence[Request]) -> Counter[UUID]:
    """How many tickets of a tier with a limit each of these customers has."""
    if tier.max_per_customer is None:
        return Counter()
    users = {request.user.pk for request in requests}
    bookings = Booking.objects.filter(ticket_tier=tier, user__in=users).holding_tickets()
    return Counter(dict(bookings.values_list("user").annotate(Sum("quantity")).order_by()))


def new_booking(request: Request, tier: TicketTier) -> Booking:
    now = request.time()
    return Booking(
        user=request.user,
        ticket_tier_id=tier.pk,
        quantity=request.quantity,
        unit_price=tier.price,
        total_price=tier.price * request.quantity,
        idempotency_key=request.idempotency_key,
        hold_expires_at=now + timedelta(seconds=settings.HOLD_SECONDS),
        created_at=now,
        updated_at=now,
    )


def replayed(booking: Booking, request: Request) -> Answer:
    if (booking.ticket_tier_id, booking.quantity) != (request.ticket_tier_id, request.quantity):
        return IdempotencyKeyReused(bookingId=booking.pk)
    booking.user = request.user
    return Held(booking, replayed=True)


def seen(request: Request) -> Answer | None:
    booking = bookings_of_keys([request]).get(request.identity)
    return replayed(booking, request) if booking else None


def settle_all(settlements: Sequence[Settlement]) -> int:
    """Write the gateway's words down, each once; returns how many tickets come back."""
    returned = 0
    for outcome, state in STATES.items():
        by_id = {s.booking.pk: s for s in settlements if s.outcome is outcome}
        if by_id:
            with connection.cursor() as cursor:
                times = [s.now for s in by_id.values()]
                names = dict(zip(("status", "payment", "reason"), state, strict=True))
                cursor.execute(SETTLE, names | {"ids": list(by_id), "times": times})
                settled = [by_id[pk] for (pk,) in cursor.fetchall()]
            for settlement in settled:
                settlement.written = True
            if outcome is Outcome.DECLINED:
                returned = sum(s.booking.quantity for s in settled)
    return returned
