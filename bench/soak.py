"""make bench-soak: sell a great many tickets in one sitting, and see that nothing grows.

BOOKINGS says how many (two million, a quarter of an hour or so). One payment in five is declined. After
each minute it prints the bookings, the memory of the web server and its sessions at the database; it fails
if either has grown, or if the audit finds a difference.
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
CLIENTS, SECONDS, LONGEST = 256, 60, 40  # LONGEST: minutes, whatever has been sold by then
GROWTH = 1.25  # of memory, since the end of the second minute


@dataclass
class Minute:
    bookings: int
    megabytes: float
    sessions: int


def main() -> None:
    require_tools()
    shutil.rmtree(SMALL.data_dir, ignore_errors=True)
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    minutes: list[Minute] = []
    with server(changes={"PAYMENT_SUCCESS_RATE": "0.8"}) as web:
        while sum(minute.bookings for minute in minutes) < BOOKINGS and len(minutes) < LONGEST:
            minutes.append(sell(web))
            print(minutes[-1], sum(minute.bookings for minute in minutes), flush=True)
    print("audit:", audit := SMALL.audit() or "no difference")
    problems = grown(minutes) + ([] if audit == "no difference" else ["the audit differs"])
    if problems:
        raise SystemExit("; ".join(problems))


def sell(web: Server) -> Minute:
    run = over_http("book", web, clients=CLIENTS, seconds=SECONDS)
    time.sleep(1)
    made = run.answers.get("201", 0) + run.answers.get("402", 0)
    return Minute(made, look_at(web).megabytes, sessions())


def sessions() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        count: int = cursor.fetchone()[0]
        return count


def grown(minutes: list[Minute]) -> list[str]:
    usual, last = minutes[min(1, len(minutes) - 1)], minutes[-1]
    found = []
    if last.megabytes > GROWTH * usual.megabytes:
        found.append(f"memory grew from {usual.megabytes:.0f} to {last.megabytes:.0f} MB")
    if last.sessions > usual.sessions + 4:
        found.append(f"database sessions grew from {usual.sessions} to {last.sessions}")
    return found


if __name__ == "__main__":
    main()
