"""The scenarios of make bench with customers who come by themselves, or who come for nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bench.measure import Run, cores, cpu_seconds, over_http
from bench.scenarios import QUICK, Size
from bench.servers import HERE, Server
from bench.site import new_tier

CROWD = 1000  # connections of a spike
TIMES_CAPACITY = 4
AFTERWARDS = 4.0  # seconds in which people keep coming after a spike's tier has sold out


@dataclass
class Arrivals:
    """What came of customers who came at a fixed rate (bench/arrivals.py)."""

    run: Run
    rate: float  # arrivals a second
    times: dict[str, tuple[float, float]]  # p50 and p99 by status, in milliseconds
    sold: list[int]  # bookings confirmed in each tenth of a second
    dropped: int  # found all connections taken, and went away
    behind: float  # the most that the generator was behind its plan, in milliseconds


def arrive(
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
    print(run, f" {found['dropped']} dropped, {found['behind']:.0f} ms behind", flush=True)
    return Arrivals(run, rate, found["times"], found["sold"], found["dropped"], found["behind"])


# --- The spike ----------------------------------------------------------------------------------


@dataclass
class Spike:
    """Arrivals jump from none to several times what can be served; the tier sells out meanwhile."""

    arrivals: Arrivals
    quantity: int

    @property
    def selling(self) -> list[int]:
        """From the first confirmed booking to the last, in tenths of a second."""
        sold = self.arrivals.sold
        return sold[next(tenth for tenth, count in enumerate(sold) if count) :]

    @property
    def sustained(self) -> float:
        """Bookings a second on average, while tickets lasted."""
        return 10 * sum(self.selling) / len(self.selling)

    @property
    def peak(self) -> float:
        """The best second."""
        tenths = self.selling
        return max(sum(tenths[i : i + 10]) for i in range(max(len(tenths) - 9, 1)))

    @property
    def by_second(self) -> list[int]:
        return [sum(self.selling[i : i + 10]) for i in range(0, len(self.selling), 10)]

    def p50(self, status: int) -> float:
        return self.arrivals.times[str(status)][0]


def spike(new: Server, size: Size, capacity: float) -> Spike:
    """`capacity`: bookings a second that were reached with a fixed number of connections."""
    arrivals = arrive(
        new,
        "spike",
        rate=TIMES_CAPACITY * capacity,
        seconds=size.spike / capacity + AFTERWARDS,
        connections=CROWD,
        tier=new_tier(size.spike),
        junk=False,
    )
    return Spike(arrivals, size.spike)


# --- Tokens that nobody has issued --------------------------------------------------------------


def junk(new: Server, size: Size, capacity: float) -> list[Arrivals]:
    """A sale at half of what can be served, alone and with as many requests with a junk token."""
    found = []
    plan: dict[str, Any] = {"rate": capacity / 2, "connections": 256}
    plan["seconds"] = 2 if size is QUICK else 6
    with ThreadPoolExecutor(1) as beside:
        for _ in range(size.repeats):
            found.append(arrive(new, "half a load", tier=new_tier(), junk=False, **plan))
            other = beside.submit(arrive, new, "junk", tier=new_tier(), junk=True, **plan)
            found.append(arrive(new, "half a load, junk", tier=new_tier(), junk=False, **plan))
            found.append(other.result())
    return found


# --- Connections that want little ---------------------------------------------------------------

SLOW, IDLE, BOOKING = 2500, 1500, 1000


def many_connections(new: Server, size: Size) -> list[Run]:
    """A thousand connections that book, alone and beside four thousand slow and idle ones."""
    runs = []
    plan: dict[str, Any] = {"clients": BOOKING, "seconds": 2 if size is QUICK else 8, "skip": 1}
    for _ in range(size.repeats):
        runs.append(over_http("book", new, name="1,000 connections", look=True, **plan))
        with idlers(new):
            runs.append(over_http("book", new, name="5,000 connections", look=True, **plan))
    return runs


@contextmanager
def idlers(to: Server) -> Iterator[None]:
    """Slow senders and silent ones, from when all are connected (bench/idlers.py)."""
    plan = {"port": to.port, "token": to.site.tokens()[0], "tier": str(new_tier())}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.idlers"],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(plan | {"slow": SLOW, "idle": IDLE}) + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "connected\n":
            raise SystemExit(f"{SLOW + IDLE} connections could not be kept open at once.")
        yield
