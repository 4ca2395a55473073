"""`python -m bench.waiters`: simulate open pages of a concert, which ask what is left as static/js/live.js
does.

Each page waits 0.5 to 1.5 times `pause` seconds between two questions, and sends the ETag of its last
answer. By default each question has a connection of its own, because servers close connections that are
silent for five seconds. With `shared` connections the questions of all pages share so many, as behind a
proxy.

The program reads a _Plan as JSON from its standard input. It prints "waiting" when the pages begin to ask,
and a summary as JSON when its time is over.
"""

import asyncio
import gc
import json
import random
import re
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import uvloop

ETAG = re.compile(rb"\r\netag: *([^\r]+)", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 10.0  # seconds for one answer


@dataclass(frozen=True)
class _Plan:
    port: int
    path: str
    pages: int
    pause: float  # seconds between two questions of a page, on average
    seconds: float
    shared: int  # connections of all pages; 0 for one each time


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> bytes:
        """The head of the answer, when its body has come too. Raises OSError."""
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(request)
        return await self.answer

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and len(body) >= int(length[1] if length else 0) and self.answer:
            answer, self.answer, self.data = self.answer, None, b""
            if not answer.done():
                answer.set_result(head)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionResetError())


class _Crowd:
    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.answers: Counter[str] = Counter()
        self.times: list[float] = []
        self.free: deque[_Connection] = deque()
        self.turn = asyncio.Semaphore(plan.shared or plan.pages)

    async def run(self) -> None:
        pages = [asyncio.create_task(self.page()) for _ in range(self.plan.pages)]
        print("waiting", flush=True)
        await asyncio.sleep(self.plan.seconds)
        for page in pages:
            page.cancel()

    async def page(self) -> None:
        # People open their pages at different times, so the first questions are spread evenly.
        etag = b""
        await asyncio.sleep(random.uniform(0, self.plan.pause))
        while True:
            began = self.loop.time()
            try:
                async with self.turn, asyncio.timeout(PATIENCE):
                    head = await self.ask(etag)
                self.answers[head[9:12].decode()] += 1
                if found := ETAG.search(head):
                    etag = found[1]
                self.times.append(self.loop.time() - began)
            except (OSError, TimeoutError):
                self.answers["lost"] += 1
            await asyncio.sleep(self.plan.pause * random.uniform(0.5, 1.5))

    async def ask(self, etag: bytes) -> bytes:
        condition = b"If-None-Match: %s\r\n" % etag if etag else b""
        request = (
            f"GET {self.plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.plan.port}\r\n".encode()
            + condition
            + b"\r\n"
        )
        while self.free:
            with suppress(OSError):
                return await self.ask_on(self.free.popleft(), request)
        _, connection = await self.loop.create_connection(_Connection, "127.0.0.1", self.plan.port)
        return await self.ask_on(connection, request)

    async def ask_on(self, connection: _Connection, request: bytes) -> bytes:
        head = b""
        try:
            head = await connection.ask(request)
        finally:
            if head and self.plan.shared:
                self.free.append(connection)
            else:
                connection.transport.close()
        return head

    def summary(self) -> dict[str, Any]:
        cuts = quantiles(self.times, n=100) if len(self.times) > 1 else [0.0] * 99
        return {"answers": self.answers, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


async def main() -> None:
    crowd = _Crowd(_Plan(**json.loads(sys.stdin.readline())))
    gc.disable()
    await crowd.run()
    print(json.dumps(crowd.summary()), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
