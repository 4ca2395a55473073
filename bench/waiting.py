"""python -m bench.waiting: what PAGES (10,000) open pages of a concert cost its sale.

64 connections book one tier, SECONDS at a time: alone, and beside the pages, which ask what is left every
20 seconds, as they do just after the opening and while little is left. The pages ask in two ways: each
time on a new connection, and on 64 connections that they share, as behind a proxy. The three kinds of runs
alternate, and each of ROUNDS (4) rounds has a ratio of both to the sale alone. It takes three minutes at
most.

The server, the database and both load generators share the cores of the machine, so part of the loss is the
work of the simulated pages themselves. `page time` is that part.
"""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

import psutil

from bench.beside import beside
from bench.measure import over_http, require_tools, warm_up
from bench.servers import Code, Server, servers
from bench.site import SMALL, new_tier

PAGES = int(os.environ.get("PAGES") or 10_000)
ROUNDS = int(os.environ.get("ROUNDS") or 4)
SECONDS = int(os.environ.get("SECONDS") or 8)
PAUSE = 20.0  # seconds, as SOON in static/js/live.js
CLIENTS = 64
REST = 30.0  # seconds at most between two runs
SHARED = {"alone": None, "new connections": 0, "shared connections": 64}


def main() -> None:
    require_tools()
    os.environ.update(SMALL.environment)
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    rates: dict[str, list[float]] = {name: [] for name in SHARED}
    with servers((Code.NEW, {"WEB_CONNECTIONS_PER_ADDRESS": "10000"})) as (site,):
        warm_up(site)
        for number in range(ROUNDS):
            # Another order each time, so that a machine that becomes slower or faster favours none.
            for name in sorted(SHARED, key=lambda name: (list(SHARED).index(name) + number) % 3):
                rates[name].append(sell(site, name))
    for name in list(SHARED)[1:]:
        ratios = [beside / alone for beside, alone in zip(rates[name], rates["alone"], strict=True)]
        each = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
        print(f"{PAGES} pages, {name} ÷ alone: {median(ratios):.2f} ({each})")
    if problems := SMALL.audit():
        raise SystemExit("\n".join(problems))


def sell(site: Server, name: str) -> float:
    from concerts.models import TicketTier

    tier = TicketTier.objects.get(pk=new_tier())
    load: dict[str, Any] = {"clients": CLIENTS, "seconds": SECONDS}
    load["words"] = {"tiers": [str(tier.pk)]}
    let_rest(site)
    shared = SHARED[name]
    if shared is None:
        return over_http("book", site, name=name, **load).rate
    plan = {"port": site.port, "path": f"/concerts/{tier.concert_id}/left/", "pages": PAGES}
    plan |= {"pause": PAUSE, "seconds": SECONDS + 3.0, "shared": shared}
    with waiting(plan):
        return over_http("book", site, name=name, **load).rate


def let_rest(site: Server) -> None:
    """Wait until the server has worked off the connections that the last run left behind."""
    deadline = time.monotonic() + REST
    quick = 0
    while quick < 5 and time.monotonic() < deadline:
        began = time.monotonic()
        with suppress(OSError), urllib.request.urlopen(f"{site.url}/livez", timeout=REST):
            quick = quick + 1 if time.monotonic() < began + 0.1 else 0
        time.sleep(0.1)


@contextmanager
def waiting(plan: dict[str, Any]) -> Iterator[None]:
    """Keep the pages of the plan open while the block runs, and print what they were told."""
    with beside("bench.waiters", plan, says="waiting") as process:
        time.sleep(1)
        yield
        used = psutil.Process(process.pid).cpu_times()
        assert process.stdout
        told = json.loads(process.stdout.readline())
    answers = " ".join(f"{status}:{n}" for status, n in sorted(told["answers"].items()))
    print(
        f"  pages: {answers} in {plan['seconds']:.0f} s, p50 {told['p50']:.0f} ms, p99 {told['p99']:.0f} ms;"
        f" page time {(used.user + used.system) / plan['seconds']:.2f} cores",
        flush=True,
    )


if __name__ == "__main__":
    main()
