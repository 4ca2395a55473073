"""Waits until all has come to rest."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chaos import facts
from chaos.facts import Facts
from chaos.gathering import Ledgers, gather
from chaos.system import GIVE_UP_SECONDS, PAGE_HOLD_SECONDS

T = TypeVar("T")

# Seconds in which there has to be a mail less. The claims of a dead worker run out after 30.
STUCK = 60.0


async def until_quiet(
    ledgers: Ledgers, tiers: Sequence[str], epoch: float, *, limit: float
) -> Facts:
    """The facts about these tiers when all has come to rest.

    Bookings, money and tickets have `limit` seconds. Mails are sent at a pace of their own, so that a sale
    keeps its speed: those that wait then may take longer, as long as they become fewer and fewer.
    """

    async def look() -> Facts:
        return await known_now(ledgers, tiers, epoch)

    deadline = time.monotonic() + limit
    known = await look()
    while facts.unsettled(known) and time.monotonic() < deadline:
        await asyncio.sleep(1)
        known = await look()
    waiting = len(facts.unsent(known))
    return await _until_sent(look, known) if len(facts.unsettled(known)) == waiting > 0 else known


async def _until_sent(look: Callable[[], Awaitable[Facts]], known: Facts) -> Facts:
    """The facts when no mail waits any more, or when there was none less for a while."""
    waiting = first = len(facts.unsent(known))
    began = fewer = time.monotonic()
    while waiting and time.monotonic() < fewer + STUCK:
        await asyncio.sleep(2)
        known = await look()
        before, waiting = waiting, len(facts.unsent(known))
        if waiting < before:
            fewer = time.monotonic()
    seconds = time.monotonic() - began
    print(
        f"{first} mails waited when there was time no more, and {waiting} do {seconds:.0f} s later "
        f"({(first - waiting) / seconds:.1f} a second)"
    )
    return known


async def known_now(ledgers: Ledgers, tiers: Sequence[str], epoch: float) -> Facts:
    """The facts as they are."""
    known = await asyncio.to_thread(with_connection, gather, ledgers, tiers, epoch)
    known.gives_up_after = PAGE_HOLD_SECONDS + GIVE_UP_SECONDS
    return known


def with_connection(act: Callable[..., T], *arguments: object) -> T:
    """Call it with a connection of its own, because the one before has been cut by faults."""
    from django.db import connection

    connection.close()
    try:
        return act(*arguments)
    finally:
        connection.close()
