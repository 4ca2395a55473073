"""What a process could not write down while the database was away, it writes as soon as it is back.

| what the process knows | what it writes |
|---|---|
| the gateway has answered, but that could not be written | the gateway's answer |
| the gateway gave no answer, and that could not be written | that nobody is at work on the booking |
| a COMMIT of holds was lost, and nobody waits for them any more | that the resolver may take them at once |

Only this process can know that nobody is at work on these bookings. For all others their keys say
`request_in_progress` until their holds end. If the process ends before it has written, or the database stays
away for so long, the resolver takes them then.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection

from bookings import settling
from bookings.models import Booking
from bookings.settling import Settlement
from bookings.tier_transaction import tier_transaction
from ticketbook import event_loop
from ticketbook.errors import Busy
from ticketbook.postgres import clock

logger = logging.getLogger(__name__)

BETWEEN_TRIES = 1.0  # seconds

_writing: set[Future[Any]] = set()


def write_later(write: Callable[[], Awaitable[object]], *, until: datetime) -> None:
    """Call `write` on the event loop until it raises no error of a database that is away."""
    loop = event_loop.event_loop()
    task = asyncio.run_coroutine_threadsafe(_until_written(write, until), loop)
    _writing.add(task)
    task.add_done_callback(_writing.discard)


async def _until_written(write: Callable[[], Awaitable[object]], until: datetime) -> None:
    while clock.now() < until:
        await asyncio.sleep(BETWEEN_TRIES)
        try:
            await write()
        except (OperationalError, InterfaceError, Busy):
            continue
        except Exception:
            logger.exception("It could not be written later")
        return


def leave_to_resolver(holds: Sequence[Booking]) -> None:
    """Holds of one tier that nobody charges, and that may not exist."""
    if holds:
        until = min(hold.hold_expires_at for hold in holds)
        write_later(partial(asyncio.to_thread, _mark, holds), until=until)


def _mark(holds: Sequence[Booking]) -> None:
    now = clock.now()
    try:
        # Whoever made these holds had the lock, and lets go of it when it is known whether they exist.
        with tier_transaction(holds[0].ticket_tier_id):
            settling.write([Settlement(hold, None, now, due=now) for hold in holds])
    finally:
        connection.close()
