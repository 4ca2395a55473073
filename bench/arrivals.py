"""Customers who arrive at a fixed rate, even if earlier customers still wait for their answers.

`python -m bench.arrivals` reads a _Plan from its standard input. It writes the summary of the crowd to its
standard output. Both are JSON. SIGTERM ends the arrivals early.
"""

import asyncio
import gc
import json
import random
import re
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import quantiles
from typing import IO, Any

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\S+)", re.IGNORECASE)
TENTH = 0.1  # seconds
PATIENCE = 30.0  # seconds that we wait for the last answers


@dataclass(frozen=True)
class _Plan:
    port: int
    tier: str
    tokens: list[str]  # if empty, each customer sends a made-up token
    rate: float  # arrivals a second
    seconds: float
    connections: int
    journal: str = ""  # a file for what each customer was told; see _Journal


class _Journal:
    """A line of JSON for each request: when it was due and answered (monotonic seconds), and the answer.

    A request that lost its connection has the status 0.
    """

    def __init__(self, file: IO[str], now: Callable[[], float]) -> None:
        self.file = file
        self.offset = time.monotonic() - now()

    def note(self, due: float, status: str, head: bytes, body: bytes) -> None:
        told: dict[str, Any] = {}
        with suppress(ValueError):
            told = json.loads(body)
        after = RETRY_AFTER.search(head)
        line = {
            "due": due + self.offset,
            "answered": time.monotonic(),
            "status": int(status),
            "code": told.get("code", ""),
            "booking": told.get("id", ""),
            "retry_after": after[1].decode() if after else "",
        }
        self.file.write(json.dumps(line) + "\n")


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self, crowd: "_Crowd") -> None:
        self.crowd = crowd
        self.due: float | None = None  # arrival of the customer who waits for an answer
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.crowd.free.append(self)

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        length, closes = LENGTH.search(head), CLOSES.search(head)
        if not found or (length is None and closes):
            return  # the answer ends with the connection, if it has no length
        if len(body) >= int(length[1] if length else 0) and self.due is not None:
            if not closes:
                self.crowd.free.append(self)
            self.answered(self.due, head, body)

    def answered(self, due: float, head: bytes, body: bytes) -> None:
        self.due, self.data = None, b""
        self.crowd.answered(head[9:12].decode(), due, head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        head, found, body = self.data.partition(b"\r\n\r\n")
        if self.due is not None and found and CLOSES.search(head):
            self.answered(self.due, head, body)
        self.crowd.lost(self)


class _Crowd:
    def __init__(self, plan: _Plan, journal: IO[str] | None) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.free: deque[_Connection] = deque()
        self.times: dict[str, list[float]] = defaultdict(
            list
        )  # seconds from arrival to answer, by status
        self.sold: dict[int, int] = defaultdict(int)  # bookings confirmed, by tenth of a second
        self.sent = self.dropped = self.broken = 0
        self.latest = 0.0  # the longest delay of a request behind its plan, in seconds
        self.end = float("inf")
        self.ended = False
        self.journal = _Journal(journal, self.loop.time) if journal else None
        self.connecting: set[asyncio.Task[None]] = set()
        self.keys = f"{random.getrandbits(32):08x}-0000-4000-8000-%012x"

    async def connect(self) -> None:
        await self.loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.plan.port)

    async def connect_again(self) -> None:
        while not self.ended:
            try:
                await self.connect()
                break
            except OSError:
                await asyncio.sleep(TENTH)

    async def run(self) -> None:
        await asyncio.gather(*(self.connect() for _ in range(self.plan.connections)))
        self.start = now = self.loop.time()
        self.end, came = self.start + self.plan.seconds, 0
        while now < self.end:
            due = int((now - self.start) * self.plan.rate)
            for number in range(came, due):
                self.arrive(number)
            came = due
            await asyncio.sleep(0.001)
            now = self.loop.time()
        while self.waiting and now < self.end + PATIENCE:
            await asyncio.sleep(0.05)
            now = self.loop.time()
        self.ended = True

    def stop(self) -> None:
        """No more customers arrive."""
        self.end = min(self.end, self.loop.time())

    @property
    def waiting(self) -> int:
        return self.sent - self.broken - sum(map(len, self.times.values()))

    def arrive(self, number: int) -> None:
        due = self.start + number / self.plan.rate
        self.latest = max(self.latest, self.loop.time() - due)
        if not self.free:
            self.dropped += 1
            return
        self.sent += 1
        self.free.popleft().ask(self.request(number), due)

    def request(self, number: int) -> bytes:
        tokens = self.plan.tokens
        token = tokens[number % len(tokens)] if tokens else f"{random.getrandbits(256):064x}"
        body = (
            f'{{"ticketTierId":"{self.plan.tier}","quantity":1,'
            f'"idempotencyKey":"{self.keys % number}"}}'
        )
        return (
            "POST /api/v1/bookings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Token {token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def answered(self, status: str, due: float, head: bytes, body: bytes) -> None:
        now = self.loop.time()
        self.times[status].append(now - due)
        if self.journal:
            self.journal.note(due, status, head, body)
        if status == "201":
            self.sold[int((now - self.start) / TENTH)] += 1

    def lost(self, connection: _Connection) -> None:
        if self.ended:
            return
        if connection.due is not None:
            self.broken += 1
            if self.journal:
                self.journal.note(connection.due, "0", b"", b"")
        elif connection in self.free:
            self.free.remove(connection)
        task = asyncio.create_task(self.connect_again())
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    def summary(self) -> dict[str, Any]:
        return {
            "answers": {status: len(times) for status, times in self.times.items()},
            "times": {status: _p50_and_p99(times) for status, times in self.times.items()},
            "sold": [self.sold[tenth] for tenth in range(max(self.sold, default=-1) + 1)],
            "dropped": self.dropped,
            "lost": self.broken + max(self.waiting, 0),
            "behind": self.latest * 1000,
        }


def _p50_and_p99(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    cuts = quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    return cuts[49] * 1000, cuts[98] * 1000


async def main() -> None:
    plan = _Plan(**json.load(sys.stdin))
    journal = open(plan.journal, "w", buffering=1) if plan.journal else None  # noqa: SIM115
    crowd = _Crowd(plan, journal)
    crowd.loop.add_signal_handler(signal.SIGTERM, crowd.stop)
    gc.disable()  # a pause would delay everybody who arrives during it
    await crowd.run()
    print(json.dumps(crowd.summary()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
