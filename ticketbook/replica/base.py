"""Django's backend for a connection to the replica.

Nobody uses it but ticketbook/replica/reading.py, which opens it for the time of one reading. It waits for no
answer longer than its patience, which a server that stands still (SIGSTOP, a dead network) would otherwise
claim for minutes.
"""

import select
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper
from psycopg import IsolationLevel

from ticketbook.postgres.base import DatabaseFeatures
from ticketbook.replica.lag import WHICH, Cluster, Mark, between_looks, marks
from ticketbook.replica.rest import rest

PATIENCE = 1.0  # seconds for a statement, unless the reader has more

SAYS = (
    f"SELECT {WHICH}, pg_is_in_recovery(),"
    " coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::int8"
)


class PatientConnection(psycopg.Connection[Any]):
    """Breaks off when an answer takes too long, and when others have found that the server is gone."""

    patience = PATIENCE

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(self._patiently(gen), *args, **options)

    def _patiently(self, waits: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        # psycopg comes by here at least every tenth of a second.
        began = monotonic()
        try:
            wanted = next(waits)
            while True:
                ready = yield wanted
                if monotonic() > began + self.patience or rest.failed_at > began:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the answer took too long")
                wanted = waits.send(ready)
        except StopIteration as end:
            return end.value


class Unfit(OperationalError):
    """REPLICA_URL names a server that is no replica of ours. The message says which."""


class Said(NamedTuple):
    """What the server told about itself."""

    at: float  # monotonic; asked then or later
    wal: int
    cluster: Cluster
    follows: bool  # a primary, as which it takes no writes


def why_unfit(said: Said, mark: Mark) -> str:
    """A sentence that says why the server is no replica of the primary that made the mark; empty if it is."""
    if said.cluster.system != mark.cluster.system:
        return "REPLICA_URL names a server of another cluster."
    if not said.follows:
        return (
            "REPLICA_URL names the primary itself, or a replica that has become a primary. Name a "
            "server that follows the primary of DATABASE_URL."
        )
    if said.cluster.database != mark.cluster.database:
        return "REPLICA_URL names another database than DATABASE_URL, so its tables are missing."
    if mark.at >= said.at and said.wal > mark.wal:
        return "The replica of REPLICA_URL is ahead of the primary, so it follows another one."
    return ""


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own backend, and not ours: ours would take an error of the replica for one of the primary."""

    features_class = DatabaseFeatures

    _is_open = False
    _said: Said | None = None

    # --- Reading ------------------------------------------------------------------------------

    @contextmanager
    def open(self, patience: float) -> Iterator[None]:
        """Statements may be sent here, on this thread."""
        self._is_open, self.connection.patience = True, patience
        try:
            yield
        finally:
            self._is_open = False
            if self.connection is not None:
                self.connection.patience = PATIENCE

    def _cursor(self, name: str | None = None) -> CursorWrapper:
        if not self._is_open:
            raise RuntimeError("Only ticketbook.replica.reading reads from the replica.")
        cursor: CursorWrapper = super()._cursor(name)  # type: ignore[misc]
        return cursor

    # --- What it is, and how far behind -------------------------------------------------------

    def covers(self, now: float) -> float:
        """The last time (monotonic) whose state this server is known to have; -inf if nobody knows.

        It is asked a few times in the longest lag that is allowed, not each time. Raises OperationalError if
        it does not answer, and Unfit if it is no replica of our primary.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self._said is None or self._said.at < max(now - between_looks(), rest.failed_at):
            self._said = self._look()
        return marks.covered(self._said.wal) if self._said else float("-inf")

    def is_late(self, now: float) -> bool:
        return self._said is not None and marks.is_late(self._said.wal, now)

    def _look(self) -> Said | None:
        said = self._ask()
        # Behind one address may be several servers, so each connection is compared by itself. The first mark
        # for it is made after the server has said how far it is.
        since = said.at if self._said is None else said.at - between_looks()
        try:
            mark = marks.ask(unless_since=since)
        except (DatabaseError, InterfaceError):
            # No primary makes new marks, and the old ones run out. A new connection cannot be compared.
            return said if self._said else None
        if sentence := why_unfit(said, mark):
            raise Unfit(sentence)
        return said

    def _ask(self) -> Said:
        at = monotonic()
        with self.wrap_database_errors:
            row = self.connection.execute(SAYS, prepare=False).fetchone()
        system, database, follows, wal = row
        return Said(at, wal, Cluster(system, database), follows)

    # --- Connecting ---------------------------------------------------------------------------

    def connect(self) -> None:
        self._said = None
        before, self._is_open = self._is_open, True  # Django asks the server for its version
        try:
            super().connect()
        finally:
            self._is_open = before

    def get_new_connection(self, conn_params: dict[str, Any]) -> PatientConnection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        return PatientConnection.connect(**conn_params)

    def is_usable(self) -> bool:
        # Without a round trip, as for the primary: between statements only an end can be in the socket.
        if self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
