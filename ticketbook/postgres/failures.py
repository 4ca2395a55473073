"""What a database that fails looks like: busy, gone, broken, or changed under a prepared statement."""

import logging

import psycopg
from django.db import InterfaceError, InternalError, OperationalError, connection
from psycopg import errors as pg

from ticketbook.embedded.binaries import EmbeddedPostgresError

logger = logging.getLogger(__name__)


class CommitUnknown(OperationalError):
    """A COMMIT was sent, and no answer came that can be trusted. It may have taken effect."""


# Waits that ran out of time, and servers that are going down, coming up or full.
BUSY_CAUSES = (
    pg.LockNotAvailable,
    pg.DeadlockDetected,
    pg.TooManyConnections,
    pg.CannotConnectNow,
    pg.AdminShutdown,
    pg.CrashShutdown,
    pg.ReadOnlySqlTransaction,
    pg.QueryCanceled,
    pg.IdleInTransactionSessionTimeout,
    pg.TransactionTimeout,
)
# After these a connection is of no use any more, whether or not its socket is still open: the server is going
# down or coming up, has ended the session, or takes no writes because it is a standby now.
LOST_STATES = {"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "25006"}
NO_WRITES = "25006"
# What somebody has to mend. Until then it is as good as busy, and afterwards the same request succeeds.
BROKEN_CAUSES = (pg.DiskFull, pg.OutOfMemory)


def is_busy(exc: BaseException) -> bool:
    """Whether the database cannot serve us at the moment, so that trying again may help."""
    if not isinstance(exc, (OperationalError, InterfaceError, InternalError)):
        return False
    cause = exc.__cause__
    # A lost or refused connection carries no SQLSTATE.
    return (
        is_broken(exc)
        or isinstance(cause, BUSY_CAUSES)
        or (isinstance(cause, psycopg.Error) and (cause.sqlstate is None or ends_connection(cause)))
    )


def ends_connection(exc: psycopg.Error) -> bool:
    """Whether the server says by this that the connection is of no use any more.

    A connection that broke without a word has no SQLSTATE; psycopg counts it as closed then.
    """
    state = exc.sqlstate or ""
    # Class 08 is a connection exception. PgBouncer sends it for a server that it has lost.
    return state in LOST_STATES or state.startswith("08")


def is_broken(exc: BaseException) -> bool:
    """Whether somebody has to mend the database: its disk is full, or the embedded server does not start."""
    return isinstance(exc, EmbeddedPostgresError) or isinstance(exc.__cause__, BROKEN_CAUSES)


def log_if_broken(exc: BaseException) -> None:
    """Tell the operator. The client is only told that we are busy."""
    if is_broken(exc):
        logger.error("The database cannot serve us: %s", exc)


def is_lock_timeout(exc: BaseException) -> bool:
    return isinstance(exc.__cause__, pg.LockNotAvailable)


def is_stale(exc: BaseException) -> bool:
    """Whether a prepared statement is out of date.

    A migration has changed a column's type, or a pooler has lost the statement. After a rollback,
    psycopg prepares it anew.
    """
    return isinstance(exc.__cause__, (pg.FeatureNotSupported, pg.InvalidSqlStatementName))


def drop_dead_connection() -> None:
    # Django would keep it until the request ends. The next statement connects anew.
    if connection.connection is not None and not connection.is_usable():
        connection.close()
