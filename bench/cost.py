"""What a booking costs the database, as PostgreSQL counts it."""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from bench.measure import Run, over_http
from bench.scenarios import Size, warm_servers
from bench.servers import Code
from bench.site import as_superuser


@dataclass
class Cost:
    """One run at 64 connections, with nothing else on the server."""

    run: Run
    bookings: int
    statements: list[tuple[str, float, float, float]]  # text; calls, ms, WAL bytes per booking
    hot: float  # share of the updates of the tier's row that stayed in their page (HOT)
    multixacts: int

    @property
    def milliseconds(self) -> float:
        return sum(ms for _, _, ms, _ in self.statements)

    @property
    def calls(self) -> float:
        return sum(calls for _, calls, _, _ in self.statements)


STATEMENTS = """
SELECT query, calls, total_exec_time + total_plan_time, wal_bytes FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND toplevel AND query !~* 'pg_stat|django_migrations|pg_is_in_recovery|mxid_age|into "concerts_'
ORDER BY 3 DESC
"""

HOT = """
SELECT n_tup_hot_upd::float / nullif(n_tup_upd, 0) FROM pg_stat_user_tables
WHERE relname = 'concerts_tickettier'
"""


def cost(size: Size) -> Cost:
    with connection.cursor() as cursor, as_superuser() as superuser:
        with warm_servers((Code.NEW, {})) as (new,):
            booked = _ask(cursor, "SELECT count(*) FROM bookings_booking")
            multixacts = _ask(cursor, "SELECT mxid_age('1')")
            _ask(
                superuser,
                "SELECT pg_stat_reset_single_table_counters('concerts_tickettier'::regclass)",
            )
            _ask(superuser, "SELECT pg_stat_statements_reset()")
            run = over_http("book", new, name="cost", clients=64, seconds=size.seconds)
        # A session has reported everything only when it has ended, so the server is stopped first.
        cursor.execute(STATEMENTS)
        rows = cursor.fetchall()
        bookings = _ask(cursor, "SELECT count(*) FROM bookings_booking") - booked
        return Cost(
            run,
            bookings,
            [
                (query, calls / bookings, ms / bookings, float(wal) / bookings)
                for query, calls, ms, wal in rows
            ],
            _ask(cursor, HOT),
            _ask(cursor, "SELECT mxid_age('1')") - multixacts,
        )


def _ask(cursor: Any, sql: str) -> Any:
    answer = cursor.execute(sql) or cursor  # a cursor of Django's returns nothing
    return answer.fetchone()[0]
