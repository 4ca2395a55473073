"""make bench-soak: make very many bookings in one run, and check that nothing grows.

BOOKINGS is the number of bookings. The default, two million, takes about a quarter of an hour. One payment
in five is declined. After each minute the program prints the bookings, the memory of the web server and
the number of database sessions. It fails if the memory or the sessions have grown, or if the audit finds
a difference.
"""

import os
import shutil
import time
from dataclasses import dataclass

from bench.measure import over_http, require_tools
from bench.servers import Server, look_at, server
from bench.site import SMALL

os.environ |= SMALL.environment
BOOKINGS = int(os.environ.get("BOOKINGS", 2_000_000))
CLIENTS, SECONDS, LONGEST = 256, 60, 40  # it ends after LONGEST minutes at the latest
GROWTH = 1.25  # the most by which memory may have grown since the second minute


@dataclass
class _Minute:
    bookings: int
    megabytes: float
    sessions: int


def main() -> None:
    require_tools()
    shutil.rmtree(SMALL.data_dir, ignore_errors=True)
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    minutes: list[_Minute] = []
    with server(changes={"PAYMENT_SUCCESS_RATE": "0.8"}) as web:
        while sum(minute.bookings for minute in minutes) < BOOKINGS and len(minutes) < LONGEST:
            minutes.append(_sell(web))
            last, total = minutes[-1], sum(minute.bookings for minute in minutes)
            print(
                f"{last.bookings} bookings in this minute, {total} in all;"
                f" {last.megabytes:.0f} MB, {last.sessions} database sessions",
                flush=True,
            )
    print("audit:", audit := SMALL.audit() or "no difference")
    problems = _grown(minutes) + ([] if audit == "no difference" else ["the audit differs"])
    if problems:
        raise SystemExit("; ".join(problems))


def _sell(web: Server) -> _Minute:
    run = over_http("book", web, clients=CLIENTS, seconds=SECONDS)
    time.sleep(1)
    made = run.answers.get("201", 0) + run.answers.get("402", 0)
    return _Minute(made, look_at(web).megabytes, _sessions())


def _sessions() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        count: int = cursor.fetchone()[0]
        return count


def _grown(minutes: list[_Minute]) -> list[str]:
    usual, last = minutes[min(1, len(minutes) - 1)], minutes[-1]
    found = []
    if last.megabytes > GROWTH * usual.megabytes:
        found.append(f"memory grew from {usual.megabytes:.0f} to {last.megabytes:.0f} MB")
    if last.sessions > usual.sessions + 4:
        found.append(f"database sessions grew from {usual.sessions} to {last.sessions}")
    return found


if __name__ == "__main__":
    main()
