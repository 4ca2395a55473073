"""How jobs reach the queue: in the transaction of whoever defers them, in a worker too.

By default a worker's own connections do it for the jobs that it runs. Then the new job could begin before
what it is about is committed, find nothing to do, and be gone.

Jobs that come again and again go by the database's clock, as everything does (ticketbook/postgres/clock.py).
By default they go by that of the worker. One that was three minutes ahead, and was set right, put no such job
on the queue for three minutes: no mail was sent, and no hold resolved.
"""

from functools import partial
from typing import Any, LiteralString

from procrastinate import App, PsycopgConnector, periodic
from procrastinate.connector import BaseConnector
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.utils import connector_params


class Connector(DjangoConnector):
    def get_worker_connector(self) -> "WorkerConnector":
        return WorkerConnector(self)


class WorkerConnector(PsycopgConnector):
    """Fetches jobs by connections of its own. What a job defers goes through Django's connection."""

    def __init__(self, django: Connector) -> None:
        super().__init__(kwargs=connector_params(django.alias))
        self._django = django

    def get_sync_connector(self) -> BaseConnector:
        return self._django


class PeriodicDeferrer(periodic.PeriodicDeferrer):
    """Defers the jobs that come again and again, by the database's clock."""

    def __init__(self, app: App, **options: Any) -> None:
        super().__init__(**options)
        self._app = app

    async def worker(self) -> None:
        while True:
            row = await self._app.connector.execute_query_one_async(SECONDS)
            await self.defer_jobs(self.get_previous_tasks(at=row["now"]))
            await self.wait(self.get_next_tick(at=row["now"]))


SECONDS: LiteralString = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"


def use(app: App) -> None:
    """Let the app of procrastinate, which is ready, defer jobs so."""
    connector = Connector()
    app.connector = app.job_manager.connector = connector
    # There is no setting for it.
    setattr(periodic, "PeriodicDeferrer", partial(PeriodicDeferrer, app))  # noqa: B010
