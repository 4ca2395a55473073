"""`python -m bench.idlers`: keep slow and idle connections open, while the server has other work to do.

A slow connection sends a booking byte by byte. Half of the slow connections send the whole request in this
way, the others only its body. An idle connection sends one request and is silent from then on. When the
server closes a connection, it is opened again.

The program reads a _Plan as JSON from the first line of its standard input. It prints "connected" when all
connections are open. It ends when its standard input ends, and after LONGEST seconds at the latest.
"""

import asyncio
import json
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvloop

LONGEST = 120.0
PAUSE = 0.4  # seconds between two bytes of one sender
SLICES = (
    20  # senders are split into so many groups; groups take turns, so the bytes are spread evenly
)
AT_ONCE = 200  # connections that are being opened at the same time

GREETING = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True)
class _Plan:
    port: int
    token: str
    tier: str
    slow: int
    idle: int


class _Idler(asyncio.Protocol):
    """Sends `first` at once and `rest` byte by byte, a byte for each call of `drip`."""

    def __init__(self, first: bytes, rest: bytes = b"") -> None:
        self.first, self.rest = first, rest
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.first)

    def drip(self) -> None:
        drop, self.rest = self.rest[:1], self.rest[1:]
        if drop:
            self.transport.write(drop)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class _Idlers:
    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.connected: dict[int, _Idler] = {}
        self.all_here = asyncio.Event()
        self.door = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        count = self.plan.slow + self.plan.idle
        tasks = [asyncio.create_task(self.stay(number)) for number in range(count)]
        tasks.append(asyncio.create_task(self.drip()))
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                await self.all_here.wait()
                print("connected", flush=True)
                await _end_of_input()
        for task in tasks:
            task.cancel()

    async def stay(self, number: int) -> None:
        while True:
            try:
                async with self.door:
                    idler = await self.connect(number)
            except OSError:
                await asyncio.sleep(random.uniform(0.5, 1))
                continue
            self.connected[number] = idler
            if len(self.connected) == self.plan.slow + self.plan.idle:
                self.all_here.set()
            await idler.gone
            del self.connected[number]

    async def connect(self, number: int) -> _Idler:
        _, idler = await asyncio.get_running_loop().create_connection(
            lambda: _Idler(*self.words(number)), "127.0.0.1", self.plan.port
        )
        return idler

    def words(self, number: int) -> tuple[bytes, bytes]:
        if number >= self.plan.slow:
            return GREETING, b""
        body = (
            f'{{"ticketTierId":"{self.plan.tier}","quantity":1,'
            f'"idempotencyKey":"00000000-0000-4000-8000-{number:012x}"}}'
        )
        head = (
            "POST /api/v1/bookings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Token {self.plan.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        both = (head + body).encode()
        at_once = len(head) if number % 2 else 1
        return both[:at_once], both[at_once:]

    async def drip(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(PAUSE / SLICES)
            for number, idler in list(self.connected.items()):
                if number % SLICES == turn:
                    idler.drip()
            turn = (turn + 1) % SLICES


async def _end_of_input() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


async def main() -> None:
    await _Idlers(_Plan(**json.loads(sys.stdin.readline()))).run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
