"""To hold: take tickets out of stock for customers, in one short transaction under the tier's lock.

    with locked(tier_id) as tier:
        answers = tier.serve(wishes, settlements)

This is the only place that takes tickets out of stock. One wish is a batch of one: with lanes or
without them, the same statements decide.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Sum

from bookings import settling
from bookings.errors import (
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
    SalesClosed,
)
from bookings.models import MAX_QUANTITY, Booking
from bookings.settling import Settlement
from concerts import stock
from concerts.models import Concert, TicketTier
from ticketbook.errors import NotFound, Refusal
from ticketbook.postgres.statements import (
    columns,
    execute,
    execute_prepared,
    one_round_trip,
    rows_of,
)


class Customer(Protocol):
    """Who books: a User, or what a look-up of tokens says of one."""

    @property
    def id(self) -> UUID: ...
    @property
    def public_id(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a customer asks for, under the key that makes it one wish however often it is sent."""

    user: Customer
    ticket_tier_id: UUID
    quantity: int  # 1 to 10 tickets
    idempotency_key: UUID
    now: datetime  # when it came
    came: float = field(default_factory=time.monotonic, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise ValueError(f"quantity must be 1 to {MAX_QUANTITY}, not {self.quantity}")

    def time(self) -> datetime:
        """The present time. The wish came at `now` and may have waited since."""
        return self.now + timedelta(seconds=time.monotonic() - self.came)

    @property
    def identity(self) -> tuple[UUID, UUID]:
        return self.user.id, self.idempotency_key


@dataclass(frozen=True, slots=True)
class Held:
    """A new hold, or the booking that the wish's key had made before."""

    booking: Booking
    replayed: bool


Answer = Held | Refusal


@contextmanager
def locked(tier_id: UUID) -> Iterator["LockedTier"]:
    """A transaction that has locked the tier, or knows that there is none. It is committed at the end.

    Raises what the database raises, and then nothing has changed for anybody.
    """
    with transaction.atomic(durable=True):
        try:
            tier = stock.lock_tier(tier_id)
        except NotFound:
            yield LockedTier(None)
        else:
            yield LockedTier(tier)


class LockedTier:
    """Serves a batch from a tier that is locked.

    Everything here happens while others wait for the lock, so it takes two round trips to the database
    however many are served: one to read, one to write.
    """

    def __init__(self, tier: TicketTier | None) -> None:
        self.tier = tier

    def serve(
        self, wishes: Sequence[Wish], settlements: Sequence[Settlement] = ()
    ) -> tuple[list[Answer], list[bool]]:
        """An answer for each wish, first come first served, and for each settlement whether its booking
        was still PENDING, and so was settled. They are true once the transaction is committed."""
        if not wishes and not settlements:  # all have left while the lock was waited for
            return [], []
        if self.tier is None:
            return self.serve_without_tier(wishes), [False for _ in settlements]
        with one_round_trip():
            settled = settling.send(settlements)
            known = send_keys(wishes)
            has = send_tickets_of_customers(self.tier, wishes)
            concert = execute_prepared(FIND_CONCERT, [self.tier.concert_id])
        written, returned = settling.read(settlements, settled)
        (its_concert,) = rows_of(Concert, concert)
        round_ = Round(self.tier, its_concert, bookings_of_keys(known), has, returned)
        now = max([wish.time() for wish in wishes] + [s.now for s in settlements])
        self.remember(its_concert, returned, now=now)
        answers = [round_.decide(wish) for wish in wishes]
        self.write(round_, now=now)
        return [round_.final(answer) for answer in answers], written

    def serve_without_tier(self, wishes: Sequence[Wish]) -> list[Answer]:
        known = bookings_of_keys(send_keys(wishes))
        return [replay_of(known.get(wish.identity), wish) or NotFound() for wish in wishes]

    def remember(self, concert: Concert, returned: int, *, now: datetime) -> None:
        """If there is nothing to sell, those who come next are refused without waiting for the lock."""
        assert self.tier is not None
        if not returned and (not self.tier.available_quantity or not concert.sells_at(now)):
            stock.remember_sight(self.tier, concert)

    def write(self, round_: "Round", *, now: datetime) -> None:
        """Insert the new bookings and move the stock, in one statement."""
        assert self.tier is not None
        if round_.new:
            made = execute_prepared(TAKE, take_parameters(self.tier, round_, now=now))
            ids = {(user, key): pk for pk, user, key in made.fetchall()}
            for booking in round_.new:
                booking.pk = ids.get((booking.user_id, booking.idempotency_key))
                booking._state.adding = False
            if round_.returned:
                transaction.on_commit(partial(stock.forget_sight, self.tier.pk))
        elif round_.returned:
            stock.give_back(self.tier, round_.returned, now=now)


class Round:
    """Decides on wishes one after the other, from what was read under the lock."""

    def __init__(
        self,
        tier: TicketTier,
        concert: Concert,
        known: dict[tuple[UUID, UUID], Booking],
        has: CursorWrapper | None,
        returned: int,
    ) -> None:
        self.tier, self.concert, self.known, self.returned = tier, concert, known, returned
        self.left = tier.available_quantity + returned
        self.has = Counter(dict(has.fetchall())) if has else Counter()
        self.new: list[Booking] = []
        self.twins: dict[tuple[UUID, UUID], Booking] = {}  # of `new`, by their keys

    def decide(self, wish: Wish) -> Answer:
        # The key comes first: a wish that waited behind its twin finds the twin's booking, even if that
        # one took the last tickets.
        if known := replay_of(self.known.get(wish.identity), wish):
            return known
        if twin := self.twins.get(wish.identity):
            return Held(twin, replayed=True) if is_of(twin, wish) else IdempotencyKeyReused()
        if refusal := refusal_of(wish, self.tier, self.concert, self.left) or self.over_limit(wish):
            return refusal
        booking = new_booking(wish, self.tier)
        self.new.append(booking)
        self.twins[wish.identity] = booking
        self.left -= wish.quantity
        self.has[wish.user.id] += wish.quantity
        return Held(booking, replayed=False)

    def over_limit(self, wish: Wish) -> Refusal | None:
        limit, has = self.tier.max_per_customer, self.has[wish.user.id]
        if limit is not None and has + wish.quantity > limit:
            return CustomerLimitReached(maxPerCustomer=limit, alreadyBooked=has)
        return None

    def final(self, answer: Answer) -> Answer:
        """The answer, once the new bookings are written and have their ids."""
        if not (isinstance(answer, Held) and is_in(self.twins, answer.booking)):
            return answer
        if answer.booking.pk is None:  # the same key has won a race on another tier
            return IdempotencyKeyReused()
        return RequestInProgress(bookingId=answer.booking.pk) if answer.replayed else answer


def is_in(twins: dict[tuple[UUID, UUID], Booking], booking: Booking) -> bool:
    return twins.get((booking.user_id, booking.idempotency_key)) is booking


def refusal_of(wish: Wish, tier: TicketTier, concert: Concert, left: int) -> Refusal | None:
    """What a sale needs: a concert on sale, and stock."""
    if concert.status == Concert.Status.DRAFT:
        return NotFound()
    if not concert.sells_at(wish.time()):
        return SalesClosed()
    if wish.quantity > left:
        return InsufficientTickets(availableQuantity=left)
    return None


def new_booking(wish: Wish, tier: TicketTier) -> Booking:
    """A hold as it is inserted; the database adds the id."""
    now = wish.time()
    return Booking(
        user_id=wish.user.id,
        ticket_tier_id=tier.pk,
        quantity=wish.quantity,
        unit_price=tier.price,
        total_price=tier.price * wish.quantity,
        idempotency_key=wish.idempotency_key,
        hold_expires_at=now + timedelta(seconds=settings.HOLD_SECONDS),
        created_at=now,
        updated_at=now,
    )


# Columns that are the same for all bookings of a batch, and columns that differ.
SHARED = [
    "ticket_tier_id",
    "unit_price",
    "status",
    "payment_status",
    "failure_reason",
    "outcome_unknown",
]
OWN = [
    "user_id",
    "quantity",
    "total_price",
    "idempotency_key",
    "hold_expires_at",
    "created_at",
    "updated_at",
]


TYPES = {field.attname: field.db_type(connection) for field in Booking._meta.concrete_fields}

TAKE = f"""
WITH made AS (
    INSERT INTO bookings_booking ({", ".join(OWN + SHARED)})
    SELECT {", ".join(OWN)}, {", ".join(f"%({name})s::{TYPES[name]}" for name in SHARED)}
    FROM unnest({", ".join(f"%({name})s::{TYPES[name]}[]" for name in OWN)}) AS wish ({", ".join(OWN)})
    -- Always in one order: batches of two tiers may hold the same keys and wait for each other's.
    ORDER BY user_id, idempotency_key
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING id, user_id, idempotency_key, quantity
), moved AS (
    {stock.moving("%(returned)s - (SELECT coalesce(sum(quantity), 0) FROM made)")}
)
SELECT id, user_id, idempotency_key FROM made
"""


def take_parameters(tier: TicketTier, round_: Round, *, now: datetime) -> dict[str, object]:
    new = round_.new
    return (
        {name: [getattr(booking, name) for booking in new] for name in OWN}
        | {name: getattr(new[0], name) for name in SHARED}
        | {"tier": tier.pk, "returned": round_.returned, "now": now}
    )


# --- Looking up ---------------------------------------------------------------------------------

FIND_CONCERT = f"SELECT {columns(Concert, 'concert')} FROM concerts_concert concert WHERE id = %s"

FIND_KEYS = f"""
SELECT {columns(Booking, "booking")}
FROM unnest(%s::uuid[], %s::uuid[]) AS wish (user_id, key)
JOIN bookings_booking booking
    ON booking.user_id = wish.user_id AND booking.idempotency_key = wish.key
"""


def send_keys(wishes: Sequence[Wish]) -> CursorWrapper | None:
    if not wishes:
        return None
    users, keys = zip(*(wish.identity for wish in wishes), strict=True)
    return execute(FIND_KEYS, [list(users), list(keys)])


def bookings_of_keys(found: CursorWrapper | None) -> dict[tuple[UUID, UUID], Booking]:
    bookings = rows_of(Booking, found) if found else []
    return {(booking.user_id, booking.idempotency_key): booking for booking in bookings}


def send_tickets_of_customers(tier: TicketTier, wishes: Sequence[Wish]) -> CursorWrapper | None:
    """How many tickets of a tier with a limit each of these customers has."""
    if tier.max_per_customer is None or not wishes:
        return None
    users = {wish.user.id for wish in wishes}
    bookings = Booking.objects.filter(ticket_tier=tier, user__in=users).holding_tickets()
    counted = bookings.values_list("user").annotate(Sum("quantity")).order_by()
    return execute(*counted.query.sql_with_params())


def is_of(booking: Booking, wish: Wish) -> bool:
    return (booking.ticket_tier_id, booking.quantity) == (wish.ticket_tier_id, wish.quantity)


def replay_of(booking: Booking | None, wish: Wish) -> Answer | None:
    """What the booking that the wish's key had made before means for it."""
    if booking is None:
        return None
    if not is_of(booking, wish):
        return IdempotencyKeyReused(bookingId=booking.pk)
    return Held(copy(booking), replayed=True)  # two of a batch may have found the same
