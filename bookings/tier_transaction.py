"""The transaction that locks a tier. It serves a batch and a single wish with the same statements.

    with tier_transaction(tier_id) as tier:
        results, written = tier.serve(wishes, settlements)

Wishes take tickets from stock and become PENDING bookings. Settlements of declined bookings put their tickets
back. Nothing but this module sells tickets (and the demo, which loads bookings as if they had been sold).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import ADDITION, LogEntry
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from bookings import breakers, settling
from bookings.errors import (
    Changed,
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
    SalesClosed,
    TooManyUnpaid,
)
from bookings.gateways import named
from bookings.models import Booking
from bookings.settling import Settlement
from bookings.wishes import (
    Customer,
    Held,
    HoldResult,
    StaffDecision,
    Wish,
    is_same_request,
    replay_of,
)
from concerts import stock
from concerts.models import Concert, TicketTier
from concerts.sales import why_not_on_sale
from ticketbook.errors import NotFound, Refusal
from ticketbook.postgres import clock
from ticketbook.postgres.keys import first_key_of
from ticketbook.postgres.statements import (
    columns,
    execute,
    execute_prepared,
    one_round_trip,
    rows_of,
)


@contextmanager
def tier_transaction(tier_id: UUID) -> Iterator["LockedTier"]:
    """Open a transaction, lock the tier, and commit when the block ends.

    If the block raises, nothing has changed. A tier that does not exist is served too: its wishes get
    NotFound. Raises OperationalError if the lock cannot be had within LOCK_TIMEOUT_MS.
    """
    with transaction.atomic(durable=True):
        try:
            tier = stock.lock_tier(tier_id)
        except NotFound:
            yield LockedTier(None)
        else:
            yield LockedTier(tier)


class LockedTier:
    """Serves a batch while others wait for the lock.

    A batch of any size takes two round trips between lock and commit: one settles and reads, one writes.
    """

    def __init__(self, tier: TicketTier | None) -> None:
        self.tier = tier

    def serve(
        self, wishes: Sequence[Wish], settlements: Sequence[Settlement] = ()
    ) -> tuple[list[HoldResult], list[bool]]:
        """Serve the wishes, first come first served, and settle bookings that give tickets back.

        Returns one HoldResult for each wish, and for each settlement whether its booking was still PENDING
        and so was settled. Both become true when the transaction commits.
        """
        if not wishes and not settlements:  # all of them left while we waited for the lock
            return [], []
        if self.tier is None:
            return self._serve_without_tier(wishes), [False for _ in settlements]
        sent = monotonic()
        with one_round_trip():
            settled = settling.send_settlements(settlements)
            keys = send_keys(wishes)
            tickets = _send_tickets_of_customers(self.tier, wishes)
            unpaid = _send_unpaid_holds(wishes)
            concert = execute_prepared(FIND_CONCERT, [self.tier.concert_id])
        its_concert, at = _concert_and_time(concert)
        clock.measured(at, sent=sent)
        written, returned = settling.read_settlements(settlements, settled)
        self.tier.concert = its_concert
        allocation = Allocation(self.tier, bookings_of_keys(keys), returned)
        allocation.count(tickets, unpaid)
        now = max([wish.time_now() for wish in wishes] + [s.now for s in settlements])
        self._remember_if_unsellable(its_concert, returned, now=now)
        answers = [allocation.decide(wish) for wish in wishes]
        self._write(allocation, now=now)
        return [allocation.final(answer) for answer in answers], written

    def _serve_without_tier(self, wishes: Sequence[Wish]) -> list[HoldResult]:
        known = bookings_of_keys(send_keys(wishes))
        return [replay_of(known.get(wish.identity), wish) or NotFound() for wish in wishes]

    def _remember_if_unsellable(self, concert: Concert, returned: int, *, now: datetime) -> None:
        # The next wishes are then refused without waiting for the lock.
        assert self.tier is not None
        if not returned and (not self.tier.available_quantity or not concert.sells_at(now)):
            stock.remember_snapshot(self.tier, concert)

    def _write(self, allocation: "Allocation", *, now: datetime) -> None:
        """Insert the new bookings and move the stock.

        Tickets of settled bookings (`allocation.returned`) go back in the statement that takes the sold ones.
        """
        assert self.tier is not None
        if allocation.new:
            made = execute_prepared(TAKE, take_parameters(self.tier, allocation, now=now))
            ids = {(user, key): pk for pk, user, key in made.fetchall()}
            for booking in allocation.new:
                booking.pk = ids.get((booking.user_id, booking.idempotency_key))
                booking._state.adding = False
            if allocation.staff is not None:
                _log(allocation.staff, allocation.new)
            if allocation.returned:
                transaction.on_commit(partial(stock.forget_snapshot, self.tier.pk))
        elif allocation.returned:
            stock.give_back(self.tier, allocation.returned, now=now)


class Counted:
    """How many of something each customer has. A guest and an account with one address are one person."""

    def __init__(self, sent: CursorWrapper | None = None) -> None:
        # `sent` has rows of customer and how many. The person and the customer's own number follow, unless
        # they are the same.
        self.person: dict[UUID, object] = {}
        self.has: Counter[object] = Counter()
        self.own: Counter[UUID] = Counter()
        for customer, number, *more in sent.fetchall() if sent is not None else ():
            self.person[customer] = more[0] if more else customer
            self.has[self.person[customer]] = number
            self.own[customer] = more[1] if more[1:] else number

    def of(self, customer: Customer) -> int:
        return self.has[self.person.get(customer.id, customer.id)]

    def add(self, customer: Customer, number: int) -> None:
        self.has[self.person.get(customer.id, customer.id)] += number
        self.own[customer.id] += number


class Allocation:
    """Decides about wishes one after the other, from what was read under the lock."""

    def __init__(
        self,
        tier: TicketTier,
        known: dict[tuple[UUID, UUID], Booking],
        returned: int,
    ) -> None:
        self.tier, self.known, self.returned = tier, known, returned
        self.left = tier.available_quantity + returned
        self.tickets = Counted()
        self.unpaid = Counted()
        self.gateway = named.default()
        self.breaker = breakers.of(self.gateway)
        self.awaits_customers = named.redirects(self.gateway)
        self.staff: StaffDecision | None = None
        self.new: list[Booking] = []
        self.new_by_key: dict[tuple[UUID, UUID], Booking] = {}

    def count(self, tickets: CursorWrapper | None, unpaid: CursorWrapper | None) -> None:
        """How many tickets of this tier, and how many unpaid holds, the customers have so far."""
        self.tickets = Counted(tickets)
        self.unpaid = Counted(unpaid)

    def decide(self, wish: Wish) -> HoldResult:
        # The key comes before all other checks. A wish that waited behind another one with the same key
        # must find its booking, even if that one took the last tickets. A twin in this very batch is still
        # being written, so `final` turns it into RequestInProgress.
        if known := replay_of(self.known.get(wish.identity), wish):
            return known
        if twin := self.new_by_key.get(wish.identity):
            return (
                Held(twin, replayed=True) if is_same_request(twin, wish) else IdempotencyKeyReused()
            )
        left = self.left
        if wish.staff is not None and wish.staff.from_kept_back:
            left = self.tier.kept_back
        refusal = refusal_of(wish, self.tier, self.tier.concert, left) or self._over_limit(wish)
        refusal = refusal or self._changed(wish)
        if refusal is None and self.breaker.is_open:
            refusal = self._paused(wish)
        return refusal or self._take(wish)

    def _paused(self, wish: Wish) -> Refusal | None:
        # Free tickets, and those that staff book, are not charged at the gateway.
        return self.breaker.refusal() if self.tier.price and wish.staff is None else None

    def _take(self, wish: Wish) -> Held:
        if wish.staff is not None:
            self.staff, self.gateway = wish.staff, wish.staff.gateway
        booking = _new_booking(wish, self.tier, self.gateway)
        self.new.append(booking)
        self.new_by_key[wish.identity] = booking
        self.left -= wish.quantity
        self.tickets.add(wish.user, wish.quantity)
        if self.awaits_customers:
            self.unpaid.add(wish.user, 1)
        return Held(booking, replayed=False)

    def _changed(self, wish: Wish) -> Refusal | None:
        # Only here, under the lock: the price may have changed since a snapshot was made.
        if wish.seen is None or wish.seen.is_still_so(self.tier.concert, self.tier, wish.quantity):
            return None
        price = self.tier.price
        return Changed(price=str(price), total=str(price * wish.quantity))

    def _over_limit(self, wish: Wish) -> Refusal | None:
        if wish.staff is not None and wish.staff.waives_limit:
            return None
        limit, has = self.tier.max_per_customer, self.tickets.of(wish.user)
        if limit is not None and has + wish.quantity > limit:
            # Anybody can type an address, or sign up with it, so nobody is told what others have there.
            if wish.user.is_guest:
                return CustomerLimitReached(maxPerCustomer=limit)
            told = self.tickets.own[wish.user.id] if wish.staff is None else has
            return CustomerLimitReached(maxPerCustomer=limit, alreadyBooked=told)
        unpaid = self.unpaid.of(wish.user)
        if wish.staff is None and 0 < settings.MAX_UNPAID_HOLDS <= unpaid:
            return TooManyUnpaid(maxUnpaid=settings.MAX_UNPAID_HOLDS, unpaid=unpaid)
        return None

    def final(self, answer: HoldResult) -> HoldResult:
        """The answer, now that the new bookings are written and have their ids."""
        if not (isinstance(answer, Held) and self._is_new(answer.booking)):
            return answer
        if answer.booking.pk is None:
            # ON CONFLICT DO NOTHING: a batch of another tier has used this key first.
            return IdempotencyKeyReused()
        return RequestInProgress(bookingId=answer.booking.pk) if answer.replayed else answer

    def _is_new(self, booking: Booking) -> bool:
        return self.new_by_key.get((booking.user_id, booking.idempotency_key)) is booking


def refusal_of(wish: Wish, tier: TicketTier, concert: Concert, left: int) -> Refusal | None:
    """Why this wish cannot be fulfilled, whoever the customer is; None if it can."""
    if concert.status == Concert.Status.DRAFT:
        return NotFound()
    if wish.staff is not None and wish.staff.waives_sales_times:
        if concert.status != Concert.Status.PUBLISHED:  # called off
            return SalesClosed(why_not_on_sale(concert, wish.time_now()))
    elif not concert.sells_at(now := wish.time_now()):
        return SalesClosed(why_not_on_sale(concert, now))
    if wish.quantity > left:
        return InsufficientTickets(availableQuantity=left)
    return None


def _new_booking(wish: Wish, tier: TicketTier, gateway: str) -> Booking:
    now = wish.time_now()
    price = Decimal("0.00") if gateway == named.FREE else tier.price
    return Booking(
        user_id=wish.user.id,
        ticket_tier=tier,
        quantity=wish.quantity,
        unit_price=price,
        total_price=price * wish.quantity,
        gateway=gateway,
        source=wish.staff.source if wish.staff is not None else Booking.Source.ONLINE,
        idempotency_key=wish.idempotency_key,
        hold_expires_at=now + timedelta(seconds=settings.HOLD_SECONDS),
        created_at=now,
        updated_at=now,
    )


# The columns of a new booking that are equal in a whole batch, and those that differ.
SHARED = [
    "ticket_tier_id",
    "unit_price",
    "status",
    "payment_status",
    "failure_reason",
    "outcome_unknown",
    "gateway",
    "source",
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

MADE = "(SELECT coalesce(sum(quantity), 0) FROM made)"

# Inserts the new bookings, and moves the stock by what they take and by what settled bookings return.
# `kept` is 1 if they take tickets that are kept back, and 0 if they take available ones.
TAKE = f"""
WITH made AS (
    INSERT INTO bookings_booking ({", ".join(OWN + SHARED)})
    SELECT {", ".join(OWN)}, {", ".join(f"%({name})s::{TYPES[name]}" for name in SHARED)}
    FROM unnest({", ".join(f"%({name})s::{TYPES[name]}[]" for name in OWN)}) AS wish ({", ".join(OWN)})
    -- In one order everywhere: batches of two tiers may hold the same keys, and would otherwise wait
    -- for each other.
    ORDER BY user_id, idempotency_key
    ON CONFLICT (user_id, idempotency_key) DO NOTHING
    RETURNING id, user_id, idempotency_key, quantity
), moved AS (
    {stock.moving(available=f"%(returned)s - (1 - %(kept)s) * {MADE}", kept=f"- %(kept)s * {MADE}")}
)
SELECT id, user_id, idempotency_key FROM made
"""


def take_parameters(
    tier: TicketTier, allocation: Allocation, *, now: datetime
) -> dict[str, object]:
    new = allocation.new
    return (
        {name: [getattr(booking, name) for booking in new] for name in OWN}
        | {name: getattr(new[0], name) for name in SHARED}
        | {"tier": tier.pk, "returned": allocation.returned, "now": now}
        | {"kept": int(allocation.staff is not None and allocation.staff.from_kept_back)}
    )


def _log(staff: StaffDecision, bookings: Sequence[Booking]) -> None:
    made = [booking for booking in bookings if booking.pk is not None]
    message = f"Booked by {staff.by} ({', '.join(staff.said)}): {staff.note}"
    LogEntry.objects.log_actions(staff.by.pk, made, ADDITION, message)


# With the database's time, by which the batch is decided.
FIND_CONCERT = f"""
SELECT {columns(Concert, "concert")}, {clock.NOW} FROM concerts_concert concert WHERE id = %s
"""


def _concert_and_time(sent: CursorWrapper) -> tuple[Concert, datetime]:
    ((*values, at),) = sent.fetchall()
    names = [field.attname for field in Concert._meta.concrete_fields]
    return Concert.from_db(connection.alias, names, values), at


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


def bookings_of_keys(sent: CursorWrapper | None) -> dict[tuple[UUID, UUID], Booking]:
    bookings = rows_of(Booking, sent) if sent else []
    return {(booking.user_id, booking.idempotency_key): booking for booking in bookings}


# A person is an address: the guest and the account that have it count as one.
PERSONS = """
(SELECT id, email FROM accounts_user WHERE id = ANY(%(users)s::uuid[])) AS customer
CROSS JOIN LATERAL (
    SELECT id FROM accounts_user WHERE email = customer.email AND is_guest
    UNION ALL SELECT id FROM accounts_user WHERE email = customer.email AND NOT is_guest
) AS person
"""

TICKETS = f"""
SELECT customer.id, coalesce(sum(quantity - returned_quantity), 0), customer.email,
    coalesce(sum(quantity - returned_quantity) FILTER (WHERE user_id = customer.id), 0)
FROM {PERSONS}
LEFT JOIN bookings_booking booking ON booking.user_id = person.id AND ticket_tier_id = %(tier)s
    AND status IN ('PENDING', 'CONFIRMED')
GROUP BY customer.id, customer.email
"""


def _send_tickets_of_customers(tier: TicketTier, wishes: Sequence[Wish]) -> CursorWrapper | None:
    # How many tickets of this tier its customers have; not asked for a tier without a limit.
    if tier.max_per_customer is None or not wishes:
        return None
    users = list({wish.user.id for wish in wishes})
    return execute(TICKETS, {"users": users, "tier": tier.pk})


# A hold is unpaid while it waits for its customer, or for a gateway that gave no answer.
UNPAID = """
SELECT user_id, count(*) FROM bookings_booking
WHERE user_id = ANY(%(users)s::uuid[]) AND status = 'PENDING' AND outcome_unknown
GROUP BY user_id
"""

# The same by person. It takes longer, so it is asked only if a guest is among the customers.
UNPAID_OF_PERSONS = f"""
SELECT customer.id, count(booking.id), customer.email
FROM {PERSONS}
LEFT JOIN bookings_booking booking ON booking.user_id = person.id AND status = 'PENDING'
    AND outcome_unknown
GROUP BY customer.id, customer.email
"""

# If the gateway sends customers to a page of its own, holds count from their first moment.
UNPAID_OR_BEGUN = f"""
SELECT customer.id, count(booking.id), customer.email
FROM {PERSONS}
LEFT JOIN LATERAL (
    SELECT id FROM bookings_booking
    WHERE user_id = person.id AND status = 'PENDING' AND outcome_unknown
    UNION ALL
    SELECT id FROM bookings_booking
    WHERE user_id = person.id AND status = 'PENDING' AND NOT outcome_unknown
        AND gateway = %(gateway)s AND id > %(since)s
) AS booking ON true
GROUP BY customer.id, customer.email
"""
# Batches of other tiers that bring the same customers wait here, because each counts what the others hold.
# In one order everywhere, so that two of them do not wait for each other.
LOCK_CUSTOMERS = """
SELECT pg_advisory_xact_lock(customer) FROM (
    SELECT DISTINCT hashtextextended(email, 0) AS customer FROM accounts_user
    WHERE id = ANY(%s::uuid[])
    ORDER BY customer
) AS customers
"""
BEGINNING = timedelta(hours=1)  # much longer than a gateway takes to answer


def _send_unpaid_holds(wishes: Sequence[Wish]) -> CursorWrapper | None:
    if not wishes or not settings.MAX_UNPAID_HOLDS:
        return None
    users = list({wish.user.id for wish in wishes})
    if not named.redirects(gateway := named.default()):
        guests = any(wish.user.is_guest for wish in wishes)
        return execute(UNPAID_OF_PERSONS if guests else UNPAID, {"users": users})
    execute(LOCK_CUSTOMERS, [users])
    # The bound keeps the index scan short for customers with many bookings.
    since = first_key_of(wishes[0].arrived_at - BEGINNING)
    return execute(UNPAID_OR_BEGUN, {"users": users, "since": since, "gateway": gateway})


def would_get(tier: TicketTier, wishes: Sequence[Wish]) -> list[HoldResult]:
    """What these wishes of staff would get now, one after the other. It locks and writes nothing.

    The tier comes with its concert. Either all wishes are for kept-back tickets or none is.
    """
    known = bookings_of_keys(send_keys(wishes))
    allocation = Allocation(copy(tier), known, 0)
    allocation.count(_send_tickets_of_customers(tier, wishes), None)
    answers = []
    for wish in wishes:
        answers.append(answer := allocation.decide(wish))
        if isinstance(answer, Held) and not answer.replayed:
            allocation.tier.kept_back -= wish.quantity
    return answers
