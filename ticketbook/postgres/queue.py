"""How jobs reach the queue: in the transaction of whoever defers them, in a worker too.

By default a worker's own connections do it for the jobs that it runs. Then the new job could begin before
what it is about is committed, find nothing to do, and be gone.

Jobs that come again and again go by the database's clock, as everything does (ticketbook/postgres/clock.py).
By default they go by that of the worker. One that was three minutes ahead, and was set right, put no such job
on the queue for three minutes: no mail was sent, and no hold resolved.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
import psycopg_pool
from django.conf import settings
from procrastinate import App, PsycopgConnector, periodic, worker
from procrastinate.connector import LISTEN_TIMEOUT, BaseConnector, Notify
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.utils import gen_with_timeout

from ticketbook.postgres.failures import ends_connection
from ticketbook.postgres.losing import TAKES_WRITES
from ticketbook.postgres.silence import Watch, remember

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BETWEEN_TRIES = 1.0  # seconds, while the database is away


class Connector(DjangoConnector):
    def get_worker_connector(self) -> "WorkerConnector":
        return WorkerConnector(self)


class WorkerConnector(PsycopgConnector):
    """Fetches jobs by connections of its own. What a job defers goes through Django's connection.

    While the database is away it tries again, until the worker is told to stop. By itself procrastinate ends
    the worker. A query may be made twice then: a job that was fetched and never came is found by
    bookings/rescuing.py, and all others do no harm.
    """

    def __init__(self, django: Connector) -> None:
        # A pool that has found no server for so long rests until somebody asks it again.
        params = connector_params(django.alias) | settings.DATABASE_DIRECT
        super().__init__(kwargs=params, reconnect_timeout=5, configure=_remember)
        self._django = django
        self._stopping = False

    def get_sync_connector(self) -> BaseConnector:
        return self._django

    async def _create_pool(self, pool_args: dict[str, Any]) -> psycopg_pool.AsyncConnectionPool:
        # procrastinate's own check is content with a server that answers.
        return self._pool_factory(**pool_args, open=False, check=_check_that_it_takes_writes)

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        await self._until_it_is_back(partial(super().execute_query_async, query, **arguments))

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        return await self._until_it_is_back(
            partial(super().execute_query_one_async, query, **arguments)
        )

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        return await self._until_it_is_back(
            partial(super().execute_query_all_async, query, **arguments)
        )

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        await self._until_it_is_back(partial(super().listen_notify, on_notification, channels))

    async def _loop_notify(
        self,
        on_notification: Notify,
        connection: psycopg.AsyncConnection,
        timeout: float = LISTEN_TIMEOUT,
    ) -> None:
        # As procrastinate's, which would listen to a standby for ever.
        try:
            while True:
                async for told in gen_with_timeout(
                    aiterable=connection.notifies(), timeout=timeout, raise_timeout=False
                ):
                    await on_notification(channel=told.channel, payload=told.payload)
                await _check_that_it_takes_writes(connection)
        except psycopg.OperationalError:
            pass  # the caller connects anew

    async def _until_it_is_back(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        tries = 0
        while True:
            try:
                return await ask()
            except ConnectorException as exc:
                if self._stopping or not _is_lost(exc):
                    raise
                tries += 1
                if tries == 1:
                    logger.warning("The worker waits for its database: %s", exc.__cause__)
            await asyncio.sleep(BETWEEN_TRIES)

    def stop_trying(self) -> None:
        self._stopping = True


async def _remember(connection: Any) -> None:
    remember(connection)


async def _check_that_it_takes_writes(connection: Any) -> None:
    cursor = await connection.execute(TAKES_WRITES)
    ((takes_writes,),) = await cursor.fetchall()
    if not connection.autocommit:
        await connection.rollback()
    if not takes_writes:
        raise psycopg.OperationalError("The database takes no writes.")


def _is_lost(exc: ConnectorException) -> bool:
    cause = exc.__cause__
    # One without a SQLSTATE broke without a word, or could not be made.
    return isinstance(
        cause, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError
    ) and (cause.sqlstate is None or ends_connection(cause))


class Worker(worker.Worker):
    """A worker that can be told to stop while its database is away, and waits for none that stands still."""

    async def run(self) -> None:
        watch = Watch()
        watch.start()
        try:
            await super().run()  # type: ignore[no-untyped-call]
        finally:
            watch.stop()

    def stop(self) -> None:
        connector = self.app.connector
        if isinstance(connector, WorkerConnector):
            connector.stop_trying()
        super().stop()  # type: ignore[no-untyped-call]


class PeriodicDeferrer(periodic.PeriodicDeferrer):
    """Defers the jobs that come again and again, by the database's clock."""

    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(**options)
        self._app = app

    async def worker(self) -> None:
        while True:
            try:
                row = await self._app.connector.execute_query_one_async(SECONDS)
                await self.defer_jobs(self.get_previous_tasks(at=row["now"]))
            except ConnectorException as exc:
                if not _is_lost(exc):
                    raise
                await asyncio.sleep(BETWEEN_TRIES)
            else:
                await self.wait(self.get_next_tick(at=row["now"]))


SECONDS: LiteralString = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"


def use(app: App) -> None:
    """Let the app of procrastinate, which is ready, defer jobs so."""
    connector = Connector()
    app.connector = app.job_manager.connector = connector
    # There are no settings for these.
    setattr(worker, "Worker", Worker)  # noqa: B010
    setattr(periodic, "PeriodicDeferrer", partial(PeriodicDeferrer, app))  # noqa: B010
