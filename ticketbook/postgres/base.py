"""Django's PostgreSQL backend with the embedded server, version 18, its clock and a cheaper health check."""

import select
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.postgresql.client import DatabaseClient as PostgresClient
from django.db.backends.postgresql.creation import DatabaseCreation as PostgresCreation
from django.db.backends.postgresql.features import DatabaseFeatures as PostgresFeatures
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError
from django.utils.functional import cached_property

from ticketbook.embedded import membership
from ticketbook.embedded.binaries import binary
from ticketbook.embedded.roles import ROLE
from ticketbook.postgres import clock, losing, silence
from ticketbook.postgres.failures import CommitUnknown


class PreparingCursor(ServerBindingCursor):
    prepare = True

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        execute: Any = super().execute  # type: ignore[misc]
        return execute(query, params, prepare=self.prepare, binary=True)


class PlanningCursor(PreparingCursor):
    prepare = False


class DatabaseFeatures(PostgresFeatures):
    minimum_database_version = (18,)  # uuidv7() makes our primary keys


class DatabaseClient(PostgresClient):
    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        # `manage.py dbshell` uses the embedded psql for the embedded server.
        data_dir = settings_dict.get("EMBEDDED_DATA_DIR")
        if not data_dir:
            return super().settings_to_cmd_args_env(settings_dict, parameters)
        server = {name.upper(): value for name, value in membership.join(data_dir).items()}
        args, env = super().settings_to_cmd_args_env(settings_dict | server, parameters)
        return [str(binary("psql")), *args[1:]], env


class DatabaseCreation(PostgresCreation):
    def sql_table_creation_suffix(self) -> str:
        suffix: str = super().sql_table_creation_suffix()
        if self.connection.settings_dict.get("EMBEDDED_DATA_DIR"):
            suffix = f"{suffix or 'WITH'} OWNER {ROLE}"
        return suffix


@contextmanager
def not_interrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; a second one ends the process.

    At a KeyboardInterrupt psycopg asks the server to cancel. A COMMIT that waits for its standby would then
    count as done on this server, and be lost if that fails.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = 0

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            sys.exit(128 + number)

    usual = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if pressed:
            signal.raise_signal(signal.SIGINT)


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures
    client_class = DatabaseClient
    creation_class = DatabaseCreation

    unreplicated = False  # a COMMIT of this connection may be on this server only (losing.py)
    _servers_left = 0  # by the process, when this connection was made
    lock_timeout: str | None = None  # behind a pooler, instead of the usual one (statements.py)

    @cached_property
    def wrap_database_errors(self) -> losing.ErrorWrapper:
        return losing.ErrorWrapper(self)

    def get_connection_params(self) -> dict[str, Any]:
        # Django asks for every new connection. Without DATABASE_URL, join the embedded server.
        params = super().get_connection_params()
        if data_dir := self.settings_dict.get("EMBEDDED_DATA_DIR"):
            # Django makes and drops test databases under this alias, which the application's role may not.
            as_superuser = self.alias == NO_DB_ALIAS
            join = membership.join_as_superuser if as_superuser else membership.join
            params |= join(data_dir)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        # Counted before it connects, so that leaving the server meanwhile ends this connection too.
        self._servers_left, self.unreplicated = losing.servers_left(), False
        silence.refuse_to_wait()
        connection = super().get_new_connection(conn_params)
        silence.remember(connection)
        connection.add_notice_handler(self._note)
        return connection

    def _note(self, diagnostic: Any) -> None:
        if losing.is_unreplicated(diagnostic):
            self.unreplicated = True

    def init_connection_state(self) -> None:
        super().init_connection_state()
        clock.measure(self.connection)

    # --- Behind a pooler in transaction mode ---

    @property
    def pooled(self) -> bool:
        return "TRANSACTION_SETTINGS" in self.settings_dict

    def transaction_settings(self) -> dict[str, str]:
        """What a session would have, and a transaction behind a pooler has to bring along."""
        settings: dict[str, str] = self.settings_dict["TRANSACTION_SETTINGS"]
        return settings | ({"lock_timeout": self.lock_timeout} if self.lock_timeout else {})

    def _set_autocommit(self, autocommit: bool) -> None:
        if autocommit or not self.pooled:
            super()._set_autocommit(autocommit)  # type: ignore[misc]
            return
        # The BEGIN that psycopg would send by itself, with the settings in the same round trip.
        settings = self.transaction_settings().items()
        begin = "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in settings)])
        with self.wrap_database_errors:
            self.connection.execute(begin)

    def chunked_cursor(self) -> CursorWrapper:
        # Outside of a transaction the next chunk would be fetched from another server connection.
        if self.pooled and not self.in_atomic_block:
            return self.cursor()
        cursor: CursorWrapper = super().chunked_cursor()
        return cursor

    # --- COMMIT, and the end of a connection ---

    def _commit(self) -> None:
        """Raises CommitUnknown if it was sent and lost. One that the server refused raises what it says."""
        sent = self.connection is not None and not self.connection.closed
        try:
            with not_interrupted():
                super()._commit()  # type: ignore[misc]
        except OperationalError as exc:
            if sent and self.connection.closed:
                raise CommitUnknown(*exc.args) from exc.__cause__
            raise

    def lose(self) -> None:
        """Close a connection that is of no use any more. The next statement connects anew.

        Inside a transaction it is only closed. What follows there fails, and so does the commit. If Django
        were told, as by `close`, a block that has caught the error would end as if it had been committed.
        """
        if self.connection is None:
            return
        with suppress(psycopg.Error):
            self.connection.close()
        if self.in_atomic_block:
            return
        if self.autocommit:
            self.connection = None
        else:  # COMMIT or ROLLBACK has failed: Django drops the connection, and does not connect anew now
            self.closed_in_transaction = True

    def server_cursor(self, *, prepare: bool) -> CursorWrapper:
        """A cursor whose parameters the server binds, in binary.

        With `prepare`, its statements stay prepared on this connection.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        cursor: Any = PreparingCursor if prepare else PlanningCursor
        return self.make_cursor(cursor(self.connection))

    def is_usable(self) -> bool:
        # Django asks before the first query of every request, so this makes no round trip. A server that
        # closed the connection has left a message in the socket, and between queries nothing else can be
        # there.
        if self.connection.closed or self._servers_left != losing.servers_left():
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
