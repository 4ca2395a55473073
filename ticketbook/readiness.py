"""/readyz on the event loop: whether the database takes writes now, asked by a thread of its own.

The answer is never older than two seconds, and never late. A primary that stands still, or went away without
a word, makes /readyz red because it does not answer within LIMIT. All other threads may be waiting for it by
then. What ends their waits, and ours, is ticketbook/postgres/silence.py.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from django.db import DatabaseError, InterfaceError, connection

from ticketbook import health
from ticketbook.postgres.losing import leave_this_server

FRESH = 0.5  # seconds for which an answer is given to others who ask
LIMIT = 1.0  # seconds that an answer may take


LOOKING = "it is still looking whether migrations are missing"


class Readiness:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._asking: asyncio.Future[str] | None = None
        self._began = self._answered = -LIMIT
        self._missing = ""
        self._is_asking = False  # whether the thread waits for the database

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
        if not self._is_asking:  # the first look at the migrations takes long on a busy machine
            return LOOKING
        return health.SILENT

    def _learn(self, asked: asyncio.Future[str]) -> None:
        self._asking = None
        if not asked.cancelled():
            self._missing = health.SILENT if asked.exception() else asked.result()
            self._answered = monotonic()

    def _ask(self) -> str:
        self._is_asking = True
        try:
            missing = health.why_no_writes()
            self._is_asking = False
            missing = missing or health.why_not_migrated()
        except (DatabaseError, InterfaceError):
            missing = health.SILENT
        self._is_asking = False
        if missing == health.NO_WRITES:
            leave_this_server()
        if missing:
            connection.close()  # the next look may find another server
        connection.close_if_unusable_or_obsolete()
        return missing

    def stop(self) -> None:
        self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)
