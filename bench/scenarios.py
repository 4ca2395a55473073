"""Scenarios of make bench in which each connection sends its next request when it has its answer.

Each scenario starts the servers that it loads. bench/crowds.py has the other scenarios.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from bench.measure import Run, by_pgbench, over_http, warm_up
from bench.servers import Code, Server, server, servers
from bench.site import LARGE, SMALL, new_tier

RIVALS = ("textbook", "nothing")  # endpoints of the base, for comparison
HUNDRED = 100  # tiers on sale at once
MANY = 1000  # from so many connections on, the first answers come late, so a run takes longer


@dataclass(frozen=True)
class Size:
    """How much a run of make bench measures."""

    clients: list[int]  # numbers of connections
    rivals: list[int]  # numbers of connections at which RIVALS and pgbench are measured too
    reads: list[str]
    repeats: int
    seconds: int
    spike: int  # tickets of the tier that sells out
    concerts: int  # on the large site
    bookings: int  # on the large site


READS = ["list", "detail", "availability", "page", "newlist", "mine"]
GROWING = ("newlist", "mine")  # kinds that could be slower on a large site
CLIENTS = [1, 64, 256, 1000]
WHOLE = Size(CLIENTS, CLIENTS[:3], READS, 3, 3, 8000, 10_000, 1_000_000)
QUICK = Size(CLIENTS, [64], [kind for kind in READS if kind != "detail"], 1, 1, 4000, 500, 20_000)


@contextmanager
def warm_servers(*wanted: tuple[Code, dict[str, str]]) -> Iterator[list[Server]]:
    with servers(*wanted) as started:
        warm_up(*started)
        yield started


def hot_tier(size: Size) -> list[Run]:
    """Book one tier: with TicketBook, the base, the base's two endpoints of RIVALS, and pgbench."""
    runs = []
    for _ in range(size.repeats):
        with warm_servers((Code.NEW, {}), (Code.BASE, {})) as (new, base):
            for clients in size.clients:
                # They take turns, so that a slow moment of the machine affects all of them.
                many = clients >= MANY
                for name, to in (("book", new), ("base", base)):
                    run = over_http(
                        "book",
                        to,
                        name=name,
                        clients=clients,
                        seconds=2 * size.seconds if many else size.seconds,
                        skip=1 if many else 0,
                        look=to is new and clients == 64,
                    )
                    runs.append(run)
                if clients in size.rivals:
                    for kind in RIVALS:
                        runs.append(over_http(kind, base, clients=clients, seconds=size.seconds))
                    runs.append(by_pgbench(new_tier(), clients=clients, seconds=size.seconds))
    return runs


def variants(size: Size) -> list[Run]:
    runs = []
    for _ in range(size.repeats):
        with warm_servers(
            (Code.NEW, {}),
            (Code.NEW, {"PAYMENT_SUCCESS_RATE": "0.8"}),
            (Code.NEW, {"BOOKING_LANES": "off"}),
            (Code.BASE, {}),
        ) as (new, declining, alone, base):
            for name, kind, to, tiers in (
                ("book", "book", new, 1),
                ("80 % of payments succeed", "book", declining, 1),
                ("lanes off", "book", alone, 1),
                ("a hundred tiers", "book", new, HUNDRED),
                ("a hundred tiers, base", "book", base, HUNDRED),
                ("a hundred tiers, lanes off", "book", alone, HUNDRED),
                ("form", "form", new, 1),
                ("form, base", "form", base, 1),
            ):
                run = over_http(kind, to, name=name, clients=64, seconds=size.seconds, tiers=tiers)
                runs.append(run)
    return runs


# The base does not know the spread, so each of its payments takes half a second.
SLOW = {"PAYMENT_LATENCY_MS": "500", "PAYMENT_LATENCY_SPREAD_MS": "200"}


def slow_gateway(size: Size) -> list[Run]:
    runs = []
    seconds = 2 if size is QUICK else 8
    for _ in range(size.repeats):
        with warm_servers((Code.NEW, {}), (Code.NEW, SLOW), (Code.BASE, SLOW)) as (new, slow, base):
            for name, to, clients in (
                ("fast gateway", new, 1000),
                ("slow gateway", slow, 2000),
                ("slow gateway, base", base, 256),
            ):
                run = over_http("book", to, name=name, clients=clients, seconds=seconds, skip=2)
                runs.append(run)
    return runs


def reading(size: Size) -> list[Run]:
    runs = []
    with server(SMALL) as new, server(SMALL, Code.BASE) as base, server(LARGE) as large:
        for _ in range(size.repeats):
            for kind in size.reads:
                sites = [("TicketBook", new), ("base", base), ("large site", large)]
                for name, to in sites if kind in GROWING else sites[:2]:
                    # Only addresses that many ask for have a copy, so a short run asks first.
                    if kind not in GROWING:
                        over_http(kind, to, name="(to warm up)", clients=64, seconds=1)
                    run = over_http(
                        kind, to, name=f"{kind}, {name}", clients=64, seconds=size.seconds
                    )
                    runs.append(run)
    return runs


def rate(runs: Iterable[Run], what: str, clients: int = 64) -> float:
    """Return the median rate of all runs with this name and number of connections."""
    return median(run.rate for run in runs if (run.what, run.clients) == (what, clients))
