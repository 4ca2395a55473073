"""The scenarios of make bench. Each loads servers that it starts itself; the audit follows each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from uuid import UUID

from django.db import connection

from bench.measure import Run, by_pgbench, over_http, warm_up
from bench.site import LARGE, READERS, SMALL, new_tier, server

RIVALS = ("textbook", "nothing")
CROWD = 1000  # connections of a spike


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    clients: list[int]
    repeats: int
    seconds: int
    spike: int  # seconds before the tier is meant to be sold out


WHOLE = Size(clients=[1, 16, 64, 256], repeats=3, seconds=3, spike=30)
QUICK = Size(clients=[16, 64], repeats=1, seconds=1, spike=6)


def hot_tier(size: Size) -> list[Run]:
    """One tier, side by side: TicketBook, the textbook, an endpoint that does nothing, pgbench."""
    runs = []
    for _ in range(size.repeats):
        with server(SMALL) as web:
            warm_up(web.pid, new_tier())
            for clients in size.clients:
                # In turn, so that a slow moment of the machine meets all of them.
                for kind in ("book", *RIVALS):
                    tier = [new_tier()]
                    run = over_http(
                        kind, clients=clients, seconds=size.seconds, web=web.pid, tiers=tier
                    )
                    runs.append(run)
                runs.append(by_pgbench(new_tier(), clients=clients, seconds=size.seconds))
            tier = [new_tier()]
            runs.append(
                over_http("book", clients=1000, seconds=size.seconds, web=web.pid, tiers=tier)
            )
    return runs


def variants(size: Size) -> list[Run]:
    """At 64 clients: one payment in five declined; lanes off; a hundred tiers."""
    runs = []
    for _ in range(size.repeats):
        for name, tiers, changes in VARIANTS:
            with server(SMALL, changes) as web:
                warm_up(web.pid, new_tier())
                run = over_http(
                    "book",
                    name=name,
                    clients=64,
                    seconds=size.seconds,
                    web=web.pid,
                    tiers=[new_tier() for _ in range(tiers)],
                )
            runs.append(run)
    return runs


VARIANTS: list[tuple[str, int, dict[str, str]]] = [
    ("book", 1, {}),
    ("payments at 80 %", 1, {"PAYMENT_SUCCESS_RATE": "0.8"}),
    ("lanes off", 1, {"BOOKING_LANES": "off"}),
    ("a hundred tiers", 100, {}),
]


# --- Reading ------------------------------------------------------------------------------------


def reading(size: Size) -> list[Run]:
    """The catalogue and my bookings, on a small site and on a large one, in turn."""
    runs = []
    with server(SMALL) as small, server(LARGE) as large:
        sites = [(SMALL, small.pid), (LARGE, large.pid)]
        concerts = {site: site.concerts() for site, _ in sites}
        for _ in range(size.repeats):
            for kind in ("list", "detail", "availability", "page", "newlist", "mine"):
                for site, web in sites:
                    # Twice: the first requests for an address are each answered anew (fresh.py).
                    for name, seconds in (
                        ("(to warm up)", 1),
                        (f"{kind}, {site.name}", size.seconds),
                    ):
                        run = over_http(
                            kind,
                            name=name,
                            clients=64,
                            seconds=seconds,
                            web=web,
                            site=site,
                            concerts=concerts[site],
                            tokens=site.tokens()[:READERS] if kind == "mine" else None,
                        )
                    runs.append(run)
    return runs


# --- The spike ----------------------------------------------------------------------------------


@dataclass
class Spike:
    """Arrivals jump from none to several times what can be served; the tier sells out meanwhile."""

    run: Run
    arrivals: int  # a second, from the first second on
    quantity: int
    goodput: list[int] = field(default_factory=list)  # bookings confirmed in each full second

    @property
    def peak(self) -> float:
        """The best three seconds."""
        three = zip(self.goodput, self.goodput[1:], self.goodput[2:], strict=False)
        return max(sum(seconds) / 3 for seconds in three)

    @property
    def sustained(self) -> float:
        """The mean while overloaded, which is from the first full second to the last ticket."""
        return sum(self.goodput) / len(self.goodput)

    def median_of(self, status: int) -> float:
        times: Any = self.run.metrics[f"time_{status}"]
        return float(times["values"]["med"])


def spike(size: Size, capacity: float) -> Spike:
    """`capacity`: bookings a second that were reached with a fixed number of clients."""
    arrivals, quantity = round(3 * capacity), round(0.8 * capacity * size.spike)
    tier = new_tier(quantity)
    with server(SMALL) as web:
        run = over_http(
            "book",
            name="spike",
            clients=CROWD,
            arrivals=arrivals,
            seconds=size.spike * 4 / 3,  # people keep coming after it has sold out
            web=web.pid,
            tiers=[tier],
        )
    return Spike(run, arrivals, quantity, goodput_of(tier))


GOODPUT = """
SELECT count(booking.id) FROM (
    SELECT min(updated_at) AS first, max(updated_at) AS last FROM bookings_booking
    WHERE ticket_tier_id = %(tier)s
) AS sale, generate_series(first + interval '1s', last - interval '1s', interval '1s') AS second
LEFT JOIN bookings_booking booking ON ticket_tier_id = %(tier)s AND status = 'CONFIRMED'
    AND updated_at >= second AND updated_at < second + interval '1s'
GROUP BY second ORDER BY second
"""


def goodput_of(tier: UUID) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(GOODPUT, {"tier": tier})
        return [count for (count,) in cursor.fetchall()]


# --- What a booking costs the database ------------------------------------------------------------


@dataclass
class Cost:
    """Of one run at 64 clients with nothing else on the server."""

    run: Run
    bookings: int
    statements: list[tuple[str, float, float, float]]  # text, calls, ms and WAL bytes per booking
    hot: float  # share of the tier's updates that stayed in their page
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
    AND toplevel AND query !~* 'pg_stat|django_migrations|pg_is_in_recovery|mxid_age'
ORDER BY 3 DESC
"""

HOT = """
SELECT n_tup_hot_upd::float / nullif(n_tup_upd, 0) FROM pg_stat_user_tables
WHERE relname = 'concerts_tickettier'
"""


def cost(size: Size) -> Cost:
    with connection.cursor() as cursor:
        with server(SMALL) as web:
            warm_up(web.pid, new_tier())
            tier = [new_tier()]
            multixacts = ask(cursor, "SELECT mxid_age('1')")
            ask(
                cursor,
                "SELECT pg_stat_reset_single_table_counters('concerts_tickettier'::regclass)",
            )
            ask(cursor, "SELECT pg_stat_statements_reset()")
            run = over_http(
                "book", name="cost", clients=64, seconds=size.seconds, web=web.pid, tiers=tier
            )
        # Every session of the server has ended and so has reported what it did.
        cursor.execute(STATEMENTS)
        rows = cursor.fetchall()
        bookings = run.answers["201"]
        return Cost(
            run,
            bookings,
            [
                (query, calls / bookings, ms / bookings, float(wal) / bookings)
                for query, calls, ms, wal in rows
            ],
            ask(cursor, HOT),
            ask(cursor, "SELECT mxid_age('1')") - multixacts,
        )


def ask(cursor: Any, sql: str) -> Any:
    cursor.execute(sql)
    return cursor.fetchone()[0]


def rate(runs: Iterable[Run], what: str, clients: int = 64) -> float:
    """The median of the repeats."""
    return median(run.rate for run in runs if (run.what, run.clients) == (what, clients))
