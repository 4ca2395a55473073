"""What the apps share of the database: its keys, and what it looks like when it is busy."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import psycopg
from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    models,
)
from django.db.backends.utils import CursorWrapper
from psycopg import errors as pg


class UUIDv7(models.Func):
    """A key made by PostgreSQL 18: time-ordered, so that new rows land at the end of an index."""

    function = "uuidv7"
    arity = 0
    output_field = models.UUIDField()


class DatabaseKeyField(models.UUIDField):  # type: ignore[type-arg]
    """A key that the database makes, and that is None until then, as Django's own keys are.

    With a plain UUIDField, Django 5.2 puts a DatabaseDefault into an unsaved object and then takes
    the key for set: the admin cannot add an object together with its inlines.
    """

    def get_default(self) -> None:
        return None

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        return self.db_default if add and value is None else value


def primary_key() -> DatabaseKeyField:
    return DatabaseKeyField(primary_key=True, db_default=UUIDv7(), editable=False, blank=True)


Row = TypeVar("Row", bound=models.Model)


def send(sql: str, params: Sequence[object] | Mapping[str, object]) -> CursorWrapper:
    """Execute a statement that each connection prepares: to plan it takes longer than to run it.

    Only for tables that hardly grow during a sale: PostgreSQL keeps the plan of a small table while it
    grows, until it has looked at its statistics again. A statement that a migration has made stale is
    prepared anew, unless we are in a transaction, which fails then (`is_stale`).
    """
    try:
        return _send(sql, params, prepare=True)
    except DatabaseError as exc:
        if connection.in_atomic_block or not is_stale(exc):
            raise
        connection.close()  # it would keep the stale statement
        return _send(sql, params, prepare=True)


def plan_and_send(sql: str, params: Sequence[object] | Mapping[str, object]) -> CursorWrapper:
    """Execute a statement that is planned each time, by how large its tables are now."""
    return _send(sql, params, prepare=False)


def _send(
    sql: str, params: Sequence[object] | Mapping[str, object], *, prepare: bool
) -> CursorWrapper:
    cursor = cast("Any", connection).server_cursor(prepare=prepare)
    cursor.execute(sql, params)
    return cast("CursorWrapper", cursor)


def is_stale(exc: BaseException) -> bool:
    """A column's type has changed since this connection prepared its statement, or a pooler has lost it.

    After a rollback, psycopg prepares anew.
    """
    return isinstance(exc.__cause__, (pg.FeatureNotSupported, pg.InvalidSqlStatementName))


def columns(model: type[models.Model], alias: str) -> str:
    """What `rows_of` needs to find behind SELECT."""
    return ", ".join(f"{alias}.{field.attname}" for field in model._meta.concrete_fields)


def rows_of(model: type[Row], cursor: CursorWrapper) -> list[Row]:
    """The objects that a query selected by the `columns` of their model."""
    names = [field.attname for field in model._meta.concrete_fields]
    return [model.from_db(connection.alias, names, row) for row in cursor.fetchall()]


@contextmanager
def one_round_trip() -> Iterator[None]:
    """Send all that is executed inside together (libpq's pipeline mode): one wait instead of one each.

    Results can be fetched inside, which ends the wait, or after it. What the database raises comes
    from the first fetch or from the end of the block.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@contextmanager
def waiting_at_most(milliseconds: int) -> Iterator[None]:
    """A shorter lock_timeout for what this connection does outside of a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {milliseconds:d}")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")


# Waits that ended, and servers that are going down, coming up or full.
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


def drop_dead_connection() -> None:
    """Django would keep it until the request ends; the next statement connects anew."""
    if connection.connection is not None and not connection.is_usable():
        connection.close()


def is_lock_timeout(exc: BaseException) -> bool:
    return isinstance(exc.__cause__, pg.LockNotAvailable)


def is_busy(exc: BaseException) -> bool:
    """Whether the database could not serve us now, so that trying again is the right advice."""
    if not isinstance(exc, (OperationalError, InterfaceError, InternalError)):
        return False
    cause = exc.__cause__
    # A lost or refused connection carries no SQLSTATE.
    return isinstance(cause, BUSY_CAUSES) or (
        isinstance(cause, psycopg.Error) and cause.sqlstate is None
    )
