"""How a step of a booking is made: together with the others in this process, or directly.

`Together` is for the event loop: it awaits lanes (bookings/lanes.py), which serve many in one
transaction, and the gateway. `Directly` is for a thread, with BOOKING_LANES=off and for a test: it does
the same on the thread that called, with batches of one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connection

from accounts.auth import KnownCustomer, customers_of
from bookings import payments, settling
from bookings.holding import (
    Answer,
    Held,
    Wish,
    bookings_of_keys,
    locked,
    refusal_of,
    replay_of,
    send_keys,
)
from bookings.lanes import Batch, Crew, Lane
from bookings.models import Booking, BookingQuerySet
from bookings.resolving import resolve_expired
from bookings.settling import Settlement
from concerts import stock
from ticketbook.errors import Refusal
from ticketbook.postgres.failures import drop_dead_connection, is_busy, is_lock_timeout, is_stale
from ticketbook.postgres.statements import waiting_at_most

Result = TypeVar("Result")


class Steps(Protocol):
    async def hold(self, wish: Wish) -> Held:
        """Take tickets out of stock, or find the booking of the key. Raises a Refusal, and Busy or what
        the database raises."""

    async def charge(self, booking: Booking) -> payments.Outcome:
        """Raises GatewayUnavailable."""

    async def settle(self, settlement: Settlement) -> bool:
        """Write it down; False if the booking was no longer PENDING, and then nothing is written."""

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        """Ask the gateway about some holds past their time; those settled. It may be that nobody has time
        for it."""

    async def call(self, function: Callable[[], Result]) -> Result:
        """Something rare that asks the database by itself."""


# --- Directly -----------------------------------------------------------------------------------


class Directly:
    async def hold(self, wish: Wish) -> Held:
        return held_or_refused(hold_alone(wish))

    async def charge(self, booking: Booking) -> payments.Outcome:
        return payments.charge(booking)

    async def settle(self, settlement: Settlement) -> bool:
        drop_dead_connection()  # it may have died while we waited for the gateway
        return settle_alone(settlement)

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        return resolve_expired(only=only, limit=limit, now=now)

    async def call(self, function: Callable[[], Result]) -> Result:
        return function()


def finish(steps: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that never waits for an event loop, to its end."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError("It waited for an event loop, and there is none.")


def held_or_refused(answer: Answer) -> Held:
    if isinstance(answer, Refusal):
        raise answer
    return answer


def hold_alone(wish: Wish) -> Answer:
    try:
        return _hold_alone(wish)
    except Exception as exc:
        if not is_stale(exc):
            raise
        return _hold_alone(wish)  # its statements are prepared anew


def _hold_alone(wish: Wish) -> Answer:
    with locked(wish.ticket_tier_id) as tier:
        [answer], _ = tier.serve([wish])
    return answer


def settle_alone(settlement: Settlement) -> bool:
    if not settlement.returns_tickets:
        [written] = settling.write([settlement])
    else:
        with locked(settlement.booking.ticket_tier_id) as tier:
            _, [written] = tier.serve([], [settlement])
    return written


# --- Together -----------------------------------------------------------------------------------

# Milliseconds. After a batch has failed its items are served one by one, and the rows of one that somebody
# has locked must not keep all behind it waiting for LOCK_TIMEOUT_MS.
ALONE_MS = 200


class TierLane(Lane[Wish | Settlement, Answer | bool]):
    """Wishes for the tickets of one tier, and settlements that give some back."""

    def __init__(self, crew: Crew, tier_id: UUID) -> None:
        super().__init__(crew)
        self.tier_id = tier_id

    def __str__(self) -> str:
        return f"the lane of tier {self.tier_id}"

    def serve(self, batch: Batch[Wish | Settlement, Answer | bool]) -> None:
        try:
            with locked(self.tier_id) as tier:
                items = batch.board()
                wishes = [item for item in items if isinstance(item, Wish)]
                settlements = [item for item in items if isinstance(item, Settlement)]
                answers, written = tier.serve(wishes, settlements)
        except Exception as exc:
            # A lock timeout after boarding comes from an item's own rows: the tier was locked already.
            if is_busy(exc) and not (batch.boarded and is_lock_timeout(exc)):
                raise
            batch.board()
            with waiting_at_most(ALONE_MS):
                batch.answer_one_by_one(hold_or_settle_alone)
        else:
            held, settled = iter(answers), iter(written)
            batch.answer(next(held) if isinstance(i, Wish) else next(settled) for i in items)


def hold_or_settle_alone(item: Wish | Settlement) -> Answer | bool:
    return hold_alone(item) if isinstance(item, Wish) else settle_alone(item)


class SettlementLane(Lane[Settlement, bool]):
    """Settlements that return no tickets, of all tiers: they need no lock."""

    def __str__(self) -> str:
        return "the lane of settlements"

    def serve(self, batch: Batch[Settlement, bool]) -> None:
        settlements = batch.board()
        try:
            batch.answer(settling.write(settlements))
        except Exception as exc:
            if is_busy(exc) and not is_lock_timeout(exc):
                raise
            with waiting_at_most(ALONE_MS):
                batch.answer_one_by_one(settle_alone)


class TokenLane(Lane[str, KnownCustomer | None]):
    """Digests of API tokens, and whose they are."""

    def __str__(self) -> str:
        return "the lane of tokens"

    def serve(self, batch: Batch[str, KnownCustomer | None]) -> None:
        digests = batch.board()
        known = customers_of(digests)
        batch.answer(known.get(digest) for digest in digests)


class KeyLane(Lane[Wish, Booking | None]):
    """Wishes that will be refused, unless their key has made a booking before."""

    def __str__(self) -> str:
        return "the lane of keys"

    def serve(self, batch: Batch[Wish, Booking | None]) -> None:
        wishes = batch.board()
        known = bookings_of_keys(send_keys(wishes))
        batch.answer(known.get(wish.identity) for wish in wishes)


# Tiers have threads of their own, so that nobody else waits behind those that wait for a tier's lock.
TIERS = Crew("tier lane", settings.LANE_THREADS)
DESK = Crew("lane", 3)
SETTLEMENTS, TOKENS, KEYS = SettlementLane(DESK), TokenLane(DESK), KeyLane(DESK)

# What is rare asks the database by itself. What also asks the gateway has threads of its own, and is not
# begun when all of them are waiting: a gateway that is silent keeps each of them for seconds.
RESOLVERS = 4
_rare = ThreadPoolExecutor(4, thread_name_prefix="rare")
_resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
_resolving: set[asyncio.Future[Any]] = set()

_tier_lanes: dict[UUID, TierLane] = {}


def lane_of(tier_id: UUID) -> TierLane:
    """The tier's lane. Two of one tier would be two batches that wait for one lock, and no harm."""
    if lane := _tier_lanes.get(tier_id):
        return lane
    if len(_tier_lanes) >= MOST_LANES:
        forget_empty_lanes()
    return _tier_lanes.setdefault(tier_id, TierLane(TIERS, tier_id))


MOST_LANES = 1000


def forget_empty_lanes() -> None:
    for tier_id, lane in list(_tier_lanes.items()):
        if not lane.called:
            _tier_lanes.pop(tier_id, None)


class Together:
    async def hold(self, wish: Wish) -> Held:
        refusal = refusal_on_sight(wish)
        if refusal is None:
            answer = await lane_of(wish.ticket_tier_id).ask(wish)
        else:
            answer = replay_of(await KEYS.ask(wish), wish) or refusal
        assert not isinstance(answer, bool)
        return held_or_refused(answer)

    async def charge(self, booking: Booking) -> payments.Outcome:
        return await payments.acharge(booking)

    async def settle(self, settlement: Settlement) -> bool:
        if not settlement.returns_tickets:
            return await SETTLEMENTS.ask(settlement)
        return bool(await lane_of(settlement.booking.ticket_tier_id).ask(settlement))

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        if len(_resolving) >= RESOLVERS:
            return []
        resolve = partial(resolve_expired, only=only, limit=limit, now=now)
        job = asyncio.get_running_loop().run_in_executor(_resolvers, on_its_own, resolve)
        _resolving.add(job)
        job.add_done_callback(_resolving.discard)
        return await asyncio.shield(job)

    async def call(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(_rare, on_its_own, function)


def refusal_on_sight(wish: Wish) -> Refusal | None:
    """By what a locked read of this process saw within the last tenth of a second."""
    sight = stock.recent_sight(wish.ticket_tier_id)
    if sight is None:
        return None
    return refusal_of(wish, sight.tier, sight.concert, sight.tier.available_quantity)


def on_its_own(function: Callable[[], Result]) -> Result:
    """With a connection for this once, so that rare things keep none."""
    try:
        return function()
    finally:
        connection.close()


def stop() -> None:
    """Serve what waits, then end all threads and their connections; a later step starts them anew."""
    for crew in (TIERS, DESK):
        crew.stop()


async def end() -> None:
    """At the end of the process, on its event loop."""
    await asyncio.get_running_loop().run_in_executor(None, stop)
    await payments.close()
