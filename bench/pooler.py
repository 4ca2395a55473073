"""`python -m bench.pooler`: bookings through PgBouncer in transaction mode, compared with direct connections.

Two servers on one database take turns, so that a slow moment of the machine affects both. Then 64 connections
race for ROUNDS tiers of a thousand tickets each through the pooler, and the audit says what became of them.
"""

import os
import shutil
import tempfile
from pathlib import Path
from statistics import median

from bench.measure import over_http, require_tools
from bench.pgbouncer import MISSING, PROGRAM, pgbouncer, url_of
from bench.scenarios import warm_servers
from bench.servers import Code, Server
from bench.site import SMALL, new_tier
from ticketbook.embedded import binaries
from ticketbook.embedded.membership import join
from ticketbook.embedded.roles import DATABASE

TURNS = 3 if os.environ.get("QUICK") else 7
SECONDS = 3
CLIENTS = 64
RACES, TICKETS = 10, 1000


def main() -> None:
    require_tools()
    if PROGRAM is None:
        raise SystemExit(MISSING)
    os.environ |= SMALL.environment
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    params = join(SMALL.data_dir) | {"dbname": DATABASE}
    # In the home of the database's user, because root's folders are closed to it.
    place = binaries.root_home() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=place, prefix="pgbouncer-"))
    if os.geteuid() == 0:
        os.chown(folder, binaries.server_user().pw_uid, -1)
    try:
        with pgbouncer(params, folder, pool_size=20) as url:
            key = {"SECRET_KEY": "only-for-benchmarks" * 3}
            direct = {"DATABASE_URL": url_of(params)} | key
            pooled = {
                "DATABASE_URL": url,
                "DATABASE_DIRECT_URL": url_of(params),
                "DATABASE_POOLER": "transaction",
            }
            with warm_servers((Code.NEW, direct), (Code.NEW, pooled | key)) as (one, other):
                _compare(one, other)
                _race(other)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if problems := SMALL.audit():
        raise SystemExit("\n".join(problems))
    print("The audit found no difference.")


def _compare(direct: Server, pooled: Server) -> None:
    ratios = []
    for turn in range(TURNS):
        pair = [("direct", direct), ("PgBouncer", pooled)]
        rates = {
            name: over_http("book", to, name=name, clients=CLIENTS, seconds=SECONDS).rate
            for name, to in (pair if turn % 2 else reversed(pair))
        }
        ratios.append(rates["PgBouncer"] / rates["direct"])
    spread = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(
        f"Through PgBouncer, bookings reach {median(ratios):.2f} of direct connections ({spread})."
    )


def _race(pooled: Server) -> None:
    from bookings.models import Booking

    sold = 0
    for _ in range(RACES):
        tier = new_tier(TICKETS)
        for _ in range(20):
            name, words = "race", {"tiers": [str(tier)]}
            over_http("book", pooled, name=name, clients=CLIENTS, seconds=1, words=words)
            if Booking.objects.filter(ticket_tier=tier).count() >= TICKETS:
                break
        made = Booking.objects.filter(ticket_tier=tier).count()
        if made != TICKETS:
            raise SystemExit(f"A tier of {TICKETS} tickets has sold {made}.")
        sold += made
    print(f"{sold} bookings in {RACES} races, each tier sold out and no ticket more.")


if __name__ == "__main__":
    main()
