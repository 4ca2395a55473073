"""/readyz on the event loop: whether the database takes writes now, asked by a thread of its own.

The answer is never older than two seconds, and never late. A primary that stands still, or went away without
a word, makes /readyz red because it does not answer within LIMIT. All other threads may be waiting for it by
then.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, connections

from ticketbook import health
from ticketbook.postgres.losing import leave_this_server

FRESH = 0.5  # seconds for which an answer is given to others who ask
LIMIT = 1.0  # seconds that an answer may take
STUCK = 5.0  # seconds after which the question is broken off, and another server looked for


LOOKING = "it is still looking whether migrations are missing"


class Readiness:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._asking: asyncio.Future[str] | None = None
        self._began = self._answered = -LIMIT
        self._missing = ""
        self._connection: Any = None  # Django's, of the thread
        self._asked_at: float | None = None  # since when the thread has waited for the database

    async def missing(self) -> str:
        """What is missing; empty if this process can serve its customers."""
        if self._asking is None:
            if monotonic() - self._answered < FRESH:
                return self._missing
            self._began = monotonic()
            loop = asyncio.get_running_loop()
            self._asking = loop.run_in_executor(self._thread, self._ask)
            self._asking.add_done_callback(self._learn)
        left = max(0.0, self._began + LIMIT - monotonic())
        done, _ = await asyncio.wait([self._asking], timeout=left)
        if done:
            return self._missing
        asked_at = self._asked_at
        if asked_at is None:  # the first look at the migrations takes long on a busy machine
            return LOOKING
        if monotonic() - asked_at > STUCK:
            self._connection.hang_up()
        return health.SILENT

    def _learn(self, asked: asyncio.Future[str]) -> None:
        self._asking = None
        if not asked.cancelled():
            self._missing = health.SILENT if asked.exception() else asked.result()
            self._answered = monotonic()

    def _ask(self) -> str:
        self._connection = connections["default"]  # this thread's own, for `hang_up` on the loop
        self._asked_at = monotonic()
        try:
            missing = health.why_no_writes()
            self._asked_at = None
            missing = missing or health.why_not_migrated()
        except (DatabaseError, InterfaceError):
            missing = health.SILENT
        self._asked_at = None
        if missing == health.NO_WRITES:
            leave_this_server()
        if missing:
            connection.close()  # the next look may find another server
        connection.close_if_unusable_or_obsolete()
        return missing

    def stop(self) -> None:
        self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)
