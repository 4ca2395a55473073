"""How each step of a booking is made: in lanes with other requests, or on the calling thread.

`InLanes` is for the event loop. It awaits lanes, which serve many requests in one transaction, and it
awaits the gateway. `OnThisThread` makes the same steps for one request at a time, without an event loop.
It is for views and tests with BOOKING_LANES=off. (The hot API always uses lanes; with BOOKING_LANES=off
they serve batches of one.)
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from django.db import connection

from bookings import booking_lanes, payments
from bookings.booking_lanes import KEYS, SETTLEMENTS, hold_alone, lane_of, settle_alone
from bookings.gateways.base import ActionNeeded, Outcome
from bookings.models import Booking, BookingQuerySet
from bookings.resolving import resolve_expired
from bookings.settling import Settlement
from bookings.tier_transaction import refusal_of
from bookings.wishes import Held, HoldResult, Wish, replay_of
from concerts import stock
from ticketbook.errors import Refusal
from ticketbook.postgres.failures import drop_dead_connection

Result = TypeVar("Result")


class Steps(Protocol):
    async def hold(self, wish: Wish) -> Held:
        """Take tickets out of stock, or find the booking that the wish's key made before.

        Raises a Refusal, or what the database raises.
        """

    async def charge(self, booking: Booking) -> Outcome | ActionNeeded:
        """As payments.acharge. Raises GatewayUnavailable."""

    async def settle(self, settlement: Settlement) -> bool:
        """Returns False, and writes nothing, if the booking was no longer PENDING."""

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        """Resolve overdue holds; returns those settled. May return none because it has no thread free."""

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run a function that asks the database, outside of any lane."""


class OnThisThread:
    async def hold(self, wish: Wish) -> Held:
        return _held_or_refused(hold_alone(wish))

    async def charge(self, booking: Booking) -> Outcome | ActionNeeded:
        return payments.charge(booking)

    async def settle(self, settlement: Settlement) -> bool:
        drop_dead_connection()  # it may have died while we waited for the gateway
        return settle_alone(settlement)

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        return resolve_expired(only=only, limit=limit, now=now)

    async def call(self, function: Callable[[], Result]) -> Result:
        return function()


def finish(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine whose steps are made OnThisThread. It never waits, so it needs no event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError("It waited for an event loop, and there is none.")


# Threads for what happens seldom. Resolving asks the gateway, and a silent gateway keeps a thread for
# seconds, so it has threads of its own, and is skipped while all of them wait.
RESOLVERS = 4
_resolver_threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
_other_threads = ThreadPoolExecutor(4, thread_name_prefix="seldom")
_resolving: set[asyncio.Future[Any]] = set()


class InLanes:
    async def hold(self, wish: Wish) -> Held:
        refusal = _early_refusal(wish)
        if refusal is None:
            answer = await lane_of(wish.ticket_tier_id).ask(wish)
        else:
            answer = replay_of(await KEYS.ask(wish), wish) or refusal
        assert not isinstance(answer, bool)  # that is how this lane answers a settlement
        return _held_or_refused(answer)

    async def charge(self, booking: Booking) -> Outcome | ActionNeeded:
        return await payments.acharge(booking)

    async def settle(self, settlement: Settlement) -> bool:
        if not settlement.returns_tickets:
            return await SETTLEMENTS.ask(settlement)
        return bool(await lane_of(settlement.booking.ticket_tier_id).ask(settlement))

    async def resolve(self, only: BookingQuerySet, *, limit: int, now: datetime) -> list[Booking]:
        if len(_resolving) >= RESOLVERS:
            return []
        resolve = partial(resolve_expired, only=only, limit=limit, now=now)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(_resolver_threads, _then_disconnect, resolve)
        _resolving.add(job)
        job.add_done_callback(_resolving.discard)
        return await asyncio.shield(job)

    async def call(self, function: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_other_threads, _then_disconnect, function)


def _held_or_refused(answer: HoldResult) -> Held:
    if isinstance(answer, Refusal):
        raise answer
    return answer


def _early_refusal(wish: Wish) -> Refusal | None:
    # A refusal by the tier's recent snapshot (concerts/stock.py), or None.
    snapshot = stock.recent_snapshot(wish.ticket_tier_id)
    if snapshot is None:
        return None
    return refusal_of(wish, snapshot.tier, snapshot.concert, snapshot.tier.available_quantity)


def _then_disconnect(function: Callable[[], Result]) -> Result:
    # These threads are seldom busy, so they keep no connection.
    try:
        return function()
    finally:
        connection.close()


async def end() -> None:
    """At the end of the process: serve what waits in lanes, and let go of database and gateway."""
    await asyncio.get_running_loop().run_in_executor(None, booking_lanes.stop)
    await payments.close()
