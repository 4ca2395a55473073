"""Scenarios of make bench with a spike of customers, junk tokens, and thousands of slow connections.

The caller starts the server that they load.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bench.beside import beside
from bench.measure import Run, cores, cpu_seconds, over_http
from bench.scenarios import QUICK, Size
from bench.servers import HERE, Server
from bench.site import new_tier

CROWD = 1000  # connections of a spike
TIMES_CAPACITY = 4  # arrivals a second of a spike, as a multiple of the capacity
AFTERWARDS = 4.0  # seconds for which customers keep coming after the tier has sold out


@dataclass
class Arrivals:
    """The result of customers who arrived at a fixed rate (bench/arrivals.py)."""

    run: Run
    rate: float  # arrivals a second
    times: dict[str, tuple[float, float]]  # p50 and p99 by status, in milliseconds
    sold: list[int]  # bookings confirmed in each tenth of a second
    dropped: int  # customers who found every connection busy and left
    behind: float  # the longest delay of a request behind its plan, in milliseconds


def _arrive(
    to: Server, name: str, *, rate: float, seconds: float, connections: int, tier: UUID, junk: bool
) -> Arrivals:
    tokens = [] if junk else to.site.tokens()
    plan = {"port": to.port, "tier": str(tier), "tokens": tokens, "rate": rate}
    plan |= {"seconds": seconds, "connections": connections}
    before = cpu_seconds(to)
    done = subprocess.run(
        [sys.executable, "-m", "bench.arrivals"],
        input=json.dumps(plan),
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    after, found = cpu_seconds(to), json.loads(done.stdout)
    answers = found["answers"] | ({"lost": found["lost"]} if found["lost"] else {})
    wanted = "401" if junk else "201"
    p50, p99 = found["times"].get(wanted, (float("nan"), float("nan")))
    good = answers.get(wanted, 0) / seconds
    run = Run(name, connections, good, p50, p99, answers, cores(before, after, seconds))
    print(run, f" {found['dropped']} left, sent up to {found['behind']:.0f} ms late", flush=True)
    return Arrivals(run, rate, found["times"], found["sold"], found["dropped"], found["behind"])


# --- The spike ----------------------------------------------------------------------------------


@dataclass
class Spike:
    """Arrivals jump from none to several times the capacity, and the tier sells out.

    Rates are bookings a second: `sustained` until the last ticket, `peak` in the best second.
    """

    arrivals: Arrivals
    quantity: int

    @property
    def selling(self) -> list[int]:
        """Bookings confirmed in each tenth of a second, from the first booking to the last."""
        sold = self.arrivals.sold
        return sold[next(tenth for tenth, count in enumerate(sold) if count) :]

    @property
    def sustained(self) -> float:
        return 10 * sum(self.selling) / len(self.selling)

    @property
    def peak(self) -> float:
        tenths = self.selling
        return max(sum(tenths[i : i + 10]) for i in range(max(len(tenths) - 9, 1)))

    @property
    def by_second(self) -> list[int]:
        return [sum(self.selling[i : i + 10]) for i in range(0, len(self.selling), 10)]

    def p50(self, status: int) -> float:
        return self.arrivals.times[str(status)][0]


def spike(new: Server, size: Size, capacity: float) -> Spike:
    """`capacity` is the bookings a second that a fixed number of connections reached."""
    arrivals = _arrive(
        new,
        "spike",
        rate=TIMES_CAPACITY * capacity,
        seconds=size.spike / capacity + AFTERWARDS,
        connections=CROWD,
        tier=new_tier(size.spike),
        junk=False,
    )
    return Spike(arrivals, size.spike)


# --- Junk tokens --------------------------------------------------------------------------------


def junk(new: Server, size: Size, capacity: float) -> list[Arrivals]:
    """Sell at half of `capacity`, first alone, then with as many junk requests beside it."""
    found = []
    plan: dict[str, Any] = {"rate": capacity / 2, "connections": 256}
    plan["seconds"] = 2 if size is QUICK else 6
    with ThreadPoolExecutor(1) as beside:
        for _ in range(size.repeats):
            found.append(
                _arrive(new, "bookings at half the rate", tier=new_tier(), junk=False, **plan)
            )
            other = beside.submit(_arrive, new, "junk", tier=new_tier(), junk=True, **plan)
            found.append(
                _arrive(
                    new, "bookings at half the rate, with junk", tier=new_tier(), junk=False, **plan
                )
            )
            found.append(other.result())
    return found


# --- Thousands of slow connections --------------------------------------------------------------

SLOW, IDLE, BOOKING = 2500, 1500, 1000


def many_connections(new: Server, size: Size) -> list[Run]:
    """Book on BOOKING connections, first alone, then beside SLOW slow and IDLE idle ones."""
    runs = []
    plan: dict[str, Any] = {"clients": BOOKING, "seconds": 2 if size is QUICK else 8, "skip": 1}
    for _ in range(size.repeats):
        runs.append(over_http("book", new, name="1,000 connections", look=True, **plan))
        with _idlers(new):
            runs.append(over_http("book", new, name="5,000 connections", look=True, **plan))
    return runs


@contextmanager
def _idlers(to: Server) -> Iterator[None]:
    # Keep slow and idle connections open while the block runs (bench/idlers.py).
    plan: dict[str, Any] = {"port": to.port, "token": to.site.tokens()[0], "tier": str(new_tier())}
    plan |= {"slow": SLOW, "idle": IDLE}
    with beside("bench.idlers", plan, says="connected"):
        yield
