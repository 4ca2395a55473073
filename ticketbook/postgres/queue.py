"""How jobs reach the queue: in the transaction of whoever defers them, in a worker too.

By default a worker's own connections do it for the jobs that it runs. Then the new job could begin before
what it is about is committed, find nothing to do, and be gone.
"""

from procrastinate import App, PsycopgConnector
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


def use(app: App) -> None:
    """Let the app of procrastinate, which is ready, defer jobs so."""
    connector = Connector()
    app.connector = app.job_manager.connector = connector
