"""Waits until all has come to rest."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from chaos import facts
from chaos.gathering import Ledgers, gather
from chaos.system import GIVE_UP_SECONDS, PAGE_HOLD_SECONDS

T = TypeVar("T")


async def until_quiet(
    ledgers: Ledgers, tiers: Sequence[str], epoch: float, *, limit: float
) -> facts.Facts:
    """The facts about these tiers when all has come to rest, or after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        known = await asyncio.to_thread(with_connection, gather, ledgers, tiers, epoch)
        known.gives_up_after = PAGE_HOLD_SECONDS + GIVE_UP_SECONDS
        if not facts.unsettled(known) or time.monotonic() > deadline:
            return known
        await asyncio.sleep(1)


def with_connection(act: Callable[..., T], *arguments: object) -> T:
    """Call it with a connection of its own, because the one before has been cut by faults."""
    from django.db import connection

    connection.close()
    try:
        return act(*arguments)
    finally:
        connection.close()
