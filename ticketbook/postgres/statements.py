"""Statements sent to PostgreSQL by hand, for the places where the ORM takes longer than the database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from django.db import DatabaseError, connection, models
from django.db.backends.utils import CursorWrapper

from ticketbook.postgres.failures import is_stale

Row = TypeVar("Row", bound=models.Model)


def execute_prepared(sql: str, params: Sequence[object] | Mapping[str, object]) -> CursorWrapper:
    """Execute a statement that each connection prepares once, because planning takes longer than running.

    Not for a search in a table that grows during a sale: PostgreSQL would keep the plan for a small table. An
    INSERT, or a look-up by a unique key, is fine. If a migration has made the statement stale, it is prepared
    anew; inside a transaction it raises instead (`is_stale`).
    """
    try:
        return _execute(sql, params, prepare=True)
    except DatabaseError as exc:
        if connection.in_atomic_block or not is_stale(exc):
            raise
        connection.close()  # which would keep the stale statement
        return _execute(sql, params, prepare=True)


def execute(sql: str, params: Sequence[object] | Mapping[str, object]) -> CursorWrapper:
    """Execute a statement that is planned each time, for the present size of its tables."""
    return _execute(sql, params, prepare=False)


def _execute(
    sql: str, params: Sequence[object] | Mapping[str, object], *, prepare: bool
) -> CursorWrapper:
    wrapper = cast("Any", connection)
    cursor = wrapper.server_cursor(prepare=prepare)
    if wrapper.pooled and not wrapper.in_atomic_block:
        # A transaction of its own, which brings its settings along in the same round trip.
        with one_round_trip():
            settings = wrapper.transaction_settings()
            connection.connection.execute(SETTINGS, [list(settings), list(settings.values())])
            cursor.execute(sql, params)
    else:
        cursor.execute(sql, params)
    return cast("CursorWrapper", cursor)


SETTINGS = (
    "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS new (name, value)"
)


def columns(model: type[models.Model], alias: str) -> str:
    """The columns that `rows_of` expects, as SQL for a SELECT."""
    return ", ".join(f"{alias}.{field.attname}" for field in model._meta.concrete_fields)


def rows_of(model: type[Row], cursor: CursorWrapper) -> list[Row]:
    """The objects of a query that selected the `columns` of their model."""
    names = [field.attname for field in model._meta.concrete_fields]
    return [model.from_db(connection.alias, names, row) for row in cursor.fetchall()]


@contextmanager
def one_round_trip() -> Iterator[None]:
    """Send all statements of the block together (libpq's pipeline mode), and wait once.

    Fetch their results after the block. What the database raises comes from the end of the block.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@contextmanager
def waiting_at_most(milliseconds: int) -> Iterator[None]:
    """A shorter lock_timeout for the transactions of the block."""
    wrapper = cast("Any", connection)
    if wrapper.pooled:
        wrapper.lock_timeout = f"{milliseconds:d}ms"
        try:
            yield
        finally:
            wrapper.lock_timeout = None
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {milliseconds:d}")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
