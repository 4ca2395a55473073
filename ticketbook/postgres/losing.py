"""Connections whose server has gone, or takes no writes any more, are closed at the first error.

All that Django does with a connection passes `wrap_database_errors`: statements, pipelines, COMMIT. So this
is the one place that every holder of a connection shares: requests, lanes, jobs and commands.

A primary that became a standby may leave its sockets open, above all behind a pooler. Whoever notices it
first tells the whole process (`leave_this_server`), and each connection that was made before counts as dead
when it is looked at next. Nothing has to be restarted, and no thread goes on reading from a server that falls
behind.
"""

from typing import Any, LiteralString

import psycopg
from django.db.utils import DatabaseErrorWrapper, OperationalError

from ticketbook.postgres.failures import NO_WRITES, ends_connection

TAKES_WRITES: LiteralString = (
    "SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::bool)"
)

_left = 0  # how many servers this process has left


def servers_left() -> int:
    return _left


def leave_this_server() -> None:
    """From now on, connections that exist already count as dead. Their next users connect anew."""
    global _left
    _left += 1


def is_unreplicated(diagnostic: Any) -> bool:
    """Whether a notice says that a COMMIT stands on this server, and perhaps on no other.

    Somebody has cancelled its wait for the synchronous standby. The message is translated, the function's
    name is not.
    """
    function: str | None = diagnostic.source_function
    return function == "SyncRepWaitForLSN"


class ErrorWrapper(DatabaseErrorWrapper):
    """Django's translation of errors. It also closes a connection that is of no use any more."""

    wrapper: Any

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        connection = self.wrapper
        if exc_type is None:
            if connection.unreplicated:
                connection.unreplicated = False
                connection.lose()
                raise OperationalError(UNREPLICATED) from psycopg.OperationalError(UNREPLICATED)
            return
        if isinstance(exc_value, psycopg.Error) and _is_lost(exc_value, connection.connection):
            if exc_value.sqlstate == NO_WRITES:
                leave_this_server()
            connection.lose()
            # Always this class. psycopg has others for a standby and for a connection that is closed already.
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


UNREPLICATED = (
    "The wait for the synchronous standby was cancelled, so this may be lost when the server fails."
)


def _is_lost(exc: psycopg.Error, connection: Any) -> bool:
    return ends_connection(exc) or (connection is not None and connection.closed)
