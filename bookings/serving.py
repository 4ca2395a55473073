"""Serve requests for one tier in one transaction, under one lock of it.

This is the only place that takes tickets out of stock. One request is a batch of one: with lanes
(bookings/lanes.py) or without them, the same statements decide.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.backends.utils import CursorWrapper
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
from ticketbook.database import (
    columns,
    is_stale,
    one_round_trip,
    plan_and_send,
    rows_of,
    send,
)
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
            status, payment_status, failure_reason = STATES[self.outcome]
            self.booking.payment_status, self.booking.failure_reason = (
                payment_status,
                failure_reason,
            )
            self.booking.updated_at = self.now
            # Last: a request with the same key may hold the same object, and looks at this first.
            self.booking.status = status


@dataclass(frozen=True)
class Held:
    """What a request gets: a fresh hold, or the booking that its key had made before."""

    booking: Booking
    replayed: bool


Answer = Held | Refusal
Load = tuple[Sequence[Request], Sequence[Settlement]]


def hold_and_settle(tier_id: UUID, board: Callable[[], Load]) -> list[Answer]:
    """Hold tickets for each request, first come first served; the answers are in the same order.

    `board` is called when the tier is locked, for the requests and settlements to serve: so whoever
    comes during the wait for the lock can be taken along. Should the transaction have to be run again,
    it is called again, and must return the same. Settlements change their bookings in
    place; one whose booking is no longer PENDING in the database is left as it is (bookings/settling.py
    knows what to do with it). Raises what the database raises, and then nothing has changed for
    anybody.
    """
    try:
        return _hold_and_settle(tier_id, board)
    except DatabaseError as exc:
        if not is_stale(exc):
            raise
        return _hold_and_settle(tier_id, board)


def _hold_and_settle(tier_id: UUID, board: Callable[[], Load]) -> list[Answer]:
    with transaction.atomic(durable=True):
        try:
            tier = stock.lock_tier(tier_id)
        except NotFound:
            requests, _ = board()
            return [seen(request) or NotFound() for request in requests]
        requests, settlements = board()
        desk = Desk(tier, requests, settlements)
        answers = [desk.serve(request) for request in requests]
        desk.write()
    for settlement in settlements:
        settlement.show()
    return [desk.final(answer) for answer in answers]


def confirm(settlement: Settlement) -> None:
    """Settle a hold that was paid: one statement, and so a transaction of its own. It needs no lock."""
    mark_settled([settlement], send_settlements([settlement]))
    settlement.show()


class Desk:
    """Serves requests one after the other from what is left of a locked tier, then writes it down.

    Everything between here and the commit happens while others wait for the lock, so it takes two
    round trips to the database however many are served.
    """

    def __init__(
        self, tier: TicketTier, requests: Sequence[Request], settlements: Sequence[Settlement]
    ) -> None:
        self.tier = tier
        with one_round_trip():
            settled = send_settlements(settlements)
            known = send_keys(requests)
            has = send_tickets_of_users(tier, requests)
            concert = send(FIND_CONCERT, [tier.concert_id])
        (self.concert,) = rows_of(Concert, concert)
        self.returned = mark_settled(settlements, settled)
        self.known = bookings_of_keys(known)
        self.has = Counter(dict(has.fetchall())) if has else Counter()
        self.left = tier.available_quantity + self.returned
        self.now = max([r.time() for r in requests] + [s.now for s in settlements])
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
        limit = self.tier.max_per_customer
        if self.concert.status == Concert.Status.DRAFT:
            return NotFound()
        if not self.concert.sells_at(request.time()):
            return SalesClosed()
        if request.quantity > self.left:
            return InsufficientTickets(availableQuantity=self.left)
        has = self.has[request.user.pk]
        if limit is not None and has + request.quantity > limit:
            return CustomerLimitReached(maxPerCustomer=limit, alreadyBooked=has)
        return None

    def write(self) -> None:
        """Insert the fresh bookings and move the stock."""
        if not self.fresh and not self.returned:
            return
        taken = sum(booking.quantity for booking in self.fresh)
        with one_round_trip():
            made = self.send_fresh()
            self.move(self.returned - taken)
        if made:
            ids = {(user, key): pk for pk, user, key in made.fetchall()}
            for booking in self.fresh:
                booking.pk = ids.get((booking.user_id, booking.idempotency_key))
                booking._state.adding = False
            self.move(sum(booking.quantity for booking in self.fresh if not booking.pk))

    def send_fresh(self) -> CursorWrapper | None:
        if not self.fresh:
            return None
        return send(
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

    def move(self, tickets: int) -> None:
        """Tickets that come back to the stock, or leave it if there are less than none."""
        if tickets > 0:
            stock.give_back(self.tier, tickets, now=self.now)
        elif tickets < 0:
            stock.take(self.tier, -tickets, now=self.now)

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
-- Always in one order: batches of two tiers may hold the same keys and wait for each other's.
ORDER BY user_id, key
ON CONFLICT (user_id, idempotency_key) DO NOTHING
RETURNING id, user_id, idempotency_key
"""

FIND_CONCERT = f"SELECT {columns(Concert, 'concert')} FROM concerts_concert concert WHERE id = %s"

FIND_KEYS = f"""
SELECT {columns(Booking, "booking")}
FROM unnest(%s::uuid[], %s::uuid[]) AS request (user_id, key)
JOIN bookings_booking booking
    ON booking.user_id = request.user_id AND booking.idempotency_key = request.key
"""

SETTLE = """
UPDATE bookings_booking booking
SET status = word.status, payment_status = word.payment_status,
    failure_reason = word.failure_reason, updated_at = word.at
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
    AS word (id, status, payment_status, failure_reason, at)
WHERE booking.id = word.id AND booking.status = 'PENDING'
RETURNING booking.id, booking.status, booking.quantity
"""


def send_keys(requests: Sequence[Request]) -> CursorWrapper | None:
    if not requests:
        return None
    users, keys = zip(*(request.identity for request in requests), strict=True)
    return plan_and_send(FIND_KEYS, [list(users), list(keys)])


def bookings_of_keys(found: CursorWrapper | None) -> dict[tuple[UUID, UUID], Booking]:
    bookings = rows_of(Booking, found) if found else []
    return {(booking.user_id, booking.idempotency_key): booking for booking in bookings}


def send_tickets_of_users(tier: TicketTier, requests: Sequence[Request]) -> CursorWrapper | None:
    """How many tickets of a tier with a limit each of these customers has."""
    if tier.max_per_customer is None or not requests:
        return None
    users = {request.user.pk for request in requests}
    bookings = Booking.objects.filter(ticket_tier=tier, user__in=users).holding_tickets()
    counted = bookings.values_list("user").annotate(Sum("quantity")).order_by()
    return plan_and_send(*counted.query.sql_with_params())


def send_settlements(settlements: Sequence[Settlement]) -> CursorWrapper | None:
    """Write the gateway's words down, each once."""
    if not settlements:
        return None
    words = [(s.booking.pk, *STATES[s.outcome], s.now) for s in settlements]
    return plan_and_send(SETTLE, [list(column) for column in zip(*words, strict=True)])


def mark_settled(settlements: Sequence[Settlement], settled: CursorWrapper | None) -> int:
    """Remember which were written; returns how many tickets come back."""
    rows = settled.fetchall() if settled else []
    states = {pk: status for pk, status, _ in rows}
    for settlement in settlements:
        status, *_ = STATES[settlement.outcome]
        settlement.written = states.get(settlement.booking.pk) == status
    return sum(quantity for _, status, quantity in rows if status == Booking.Status.FAILED)


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
    booking = bookings_of_keys(send_keys([request])).get(request.identity)
    return replayed(booking, request) if booking else None
