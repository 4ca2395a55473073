"""Bookings at a fixed rate, by the load client of bench/, where RATE says how many a second.

Payments are simulated, without latency. Each customer asks once, and is told once; nobody tries again.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from chaos import quiet, stage
from chaos.history import History, Recorder
from deploy.cluster import Cluster
from deploy.failover.figures import Found, arrivals_in, is_acknowledged
from deploy.layout import Layout
from ticketbook.environment import BASE_DIR

CUSTOMERS = 50
PLAN: stage.Plan = [[("GA", 10, 20_000.0, None)]]
WAITING = 5  # seconds for which nobody may be answered, and all who come still find a connection
LONGEST = 3600.0  # seconds
QUIET_LIMIT = 120.0


@dataclass(frozen=True)
class Offered:
    """What was offered. Rates are a second."""

    asked: int  # the rate that was asked for
    offered: float  # requests that were sent
    booked: float  # bookings that were acknowledged
    requests: int
    slowest: float  # seconds from arrival to answer
    left: int  # customers who found every connection busy and left
    late: float  # seconds; the longest delay of a request behind its plan


class Arrivals:
    def __init__(self, where: Layout, name: str, folder: Path, rate: int) -> None:
        self.staged = quiet.with_connection(stage.set_up, CUSTOMERS, PLAN)
        self.recorder = Recorder(folder / "history.jsonl", seed=1, schedule=[name])
        self.journal, self.rate, self.port = folder / "arrivals.jsonl", rate, where.port
        self._count, self._read = 0, 0

    @contextmanager
    def ready(self, cluster: Cluster) -> Iterator[None]:
        yield

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.arrivals",
            cwd=BASE_DIR,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(self._plan()).encode())
        self.process.stdin.write_eof()
        while not self.booked() and self.process.returncode is None:
            await asyncio.sleep(0.1)
        self.began = self.recorder.now()

    def _plan(self) -> dict[str, Any]:
        return {
            "port": self.port,
            "tier": self.staged.tiers[0].id,
            "tokens": [customer.token for customer in self.staged.customers],
            "rate": self.rate,
            "seconds": LONGEST,
            "connections": self.rate * WAITING,
            "journal": str(self.journal),
        }

    def booked(self) -> int:
        """How many bookings have been acknowledged so far."""
        if self.journal.exists():
            with open(self.journal, "rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._count += new.count(b'"status": 201')
        return self._count

    async def end(self) -> None:
        self.ended = self.recorder.now()
        self.process.terminate()
        out, _ = await self.process.communicate()
        self.summary = json.loads(out)

    async def found(self) -> Found:
        """What they were told, and what is wrong with it when all has come to rest."""
        self.recorder.close()
        history = History(self.recorder.header, arrivals_in(self.journal, zero=self.recorder.zero))
        status, wrong = await asyncio.to_thread(quiet.with_connection, self._at_rest)
        told = {each.answer["id"] for each in history.attempts if is_acknowledged(each)}
        wrong += [f"Booking {pk} is still PENDING." for pk in status if status[pk] == "PENDING"]
        silent = self.summary["lost"] - sum(not each.status for each in history.attempts)
        return Found(
            history=history,
            lost=sum(status.get(booking) != "CONFIRMED" for booking in told),
            taken="",
            booked="",
            wrong=wrong + ([f"{silent} requests were never answered."] if silent else []),
            arrivals=vars(self._offered(history)),
        )

    def _at_rest(self) -> tuple[dict[str, str], list[str]]:
        # The status of each booking when nothing is open any more, and what the audit finds.
        from bookings.audit import audit
        from bookings.models import Booking

        rows = Booking.objects.filter(ticket_tier=UUID(self.staged.tiers[0].id))
        deadline = time.monotonic() + QUIET_LIMIT
        while rows.filter(status="PENDING").exists() and time.monotonic() < deadline:
            time.sleep(1)
        status = {str(pk): status for pk, status in rows.values_list("pk", "status")}
        return status, [f"audit: {sentence}" for sentence in audit()]

    def _offered(self, history: History) -> Offered:
        seconds = self.ended - self.began
        during = [each for each in history.attempts if each.began >= self.began]
        return Offered(
            asked=self.rate,
            offered=round(len(during) / seconds, 1),
            booked=round(sum(map(is_acknowledged, during)) / seconds, 1),
            requests=len(during),
            slowest=round(max((each.ended - each.began for each in during), default=0.0), 2),
            left=self.summary["dropped"],
            late=round(self.summary["behind"] / 1000, 2),
        )
