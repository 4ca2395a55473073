"""The payment gateway of a chaos run: a process of its own, with a ledger on disk that outlives it.

    python -m chaos.gateway PORT LEDGER SEED

Charges are idempotent by key, and refunds too. It never says no to money: a charge or refund under another
key moves money again, so that the ledger shows what a careless site would have done. What happens to a call
is decided by seeded chance (`USUAL`), and for a while by `PUT /mode {"mode": …, "seconds": …}`:

    decline   the charge is declined
    slow      the answer takes most of the time limit
    late      the money moves, and the answer comes, after the caller has given up
    lost      the money moves, and no answer comes
    silent    nothing moves, and no answer comes
    twice     the answer is sent twice on the same connection
    down      503 to every call
    forgets   a look-up does not find what it should

`Client` is the PAYMENT_GATEWAY of the site; GATEWAY_URL says where this server is.
"""

import asyncio
import json
import os
import random
import sqlite3
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web

from bookings.gateways.base import GatewayUnavailable, Outcome, RefundRefused

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS charge (key TEXT PRIMARY KEY, amount TEXT NOT NULL, outcome TEXT NOT NULL);
-- Each time money moved. Times are Unix seconds.
CREATE TABLE IF NOT EXISTS capture (key TEXT NOT NULL, amount TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS refund (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL, amount TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS call (verb TEXT NOT NULL, key TEXT NOT NULL, mode TEXT NOT NULL, at REAL NOT NULL);
"""

# Of a hundred calls, how many go so without any fault; the others are answered at once. Only charges are
# declined.
USUAL = {"decline": 10, "slow": 5, "late": 2, "lost": 2, "silent": 2, "twice": 3}
TIME_LIMIT = 1.0  # seconds; PAYMENT_TIME_LIMIT_MS of the site
IN_A_FAULT = 0.85  # of the calls during a fault meet it


class Ledger:
    """Every change is on disk before it is answered."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(SCHEMA)

    def note(self, verb: str, key: str, mode: str) -> None:
        self.db.execute("INSERT INTO call VALUES (?, ?, ?, ?)", [verb, key, mode, time.time()])

    def outcome(self, key: str) -> str | None:
        row = self.db.execute("SELECT outcome FROM charge WHERE key = ?", [key]).fetchone()
        return row[0] if row else None

    def charge(self, key: str, amount: str, *, decline: bool) -> str:
        """The outcome of the first charge under this key. Later ones change nothing.

        Raises ValueError if the first one was about another amount.
        """
        row = self.db.execute("SELECT amount, outcome FROM charge WHERE key = ?", [key]).fetchone()
        if row:
            if row[0] != amount:
                raise ValueError(f"{key} was charged {row[0]}, and now {amount}")
            return str(row[1])
        outcome = "declined" if decline else "succeeded"
        self.db.execute("BEGIN")
        self.db.execute("INSERT INTO charge VALUES (?, ?, ?)", [key, amount, outcome])
        if not decline:
            self.db.execute("INSERT INTO capture VALUES (?, ?, ?)", [key, amount, time.time()])
        self.db.execute("COMMIT")
        return outcome

    def refund(self, key: str, charge: str, amount: str) -> str:
        """Why it is refused, or nothing. A key that was used before changes nothing."""
        if self.outcome(charge) != "succeeded":
            return f"no money was taken under {charge}"
        row = [key, charge, amount, time.time()]
        self.db.execute("INSERT OR IGNORE INTO refund VALUES (?, ?, ?, ?)", row)
        return ""


class Server:
    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.random = random.Random(f"gateway {seed}")
        self.fault, self.fault_ends = "", 0.0
        self.usual: dict[str, float] = dict(USUAL)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_put("/mode", self.set_mode)
        for verb in ("charge", "look_up", "refund"):
            application.router.add_post(f"/{verb}", self.serve)
        return application

    async def set_mode(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.fault, self.fault_ends = body["mode"], time.monotonic() + body["seconds"]
        self.usual = body.get("usual") or self.usual
        return web.json_response({})

    def mode_of(self, verb: str) -> str:
        if time.monotonic() < self.fault_ends and self.random.random() < IN_A_FAULT:
            return self.fault
        number = self.random.uniform(0, 100)
        for mode, share in self.usual.items():
            number -= share
            if number < 0:
                return "" if mode == "decline" and verb != "charge" else mode
        return ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        verb, body = request.path[1:], await request.json()
        mode = self.mode_of(verb)
        self.ledger.note(verb, body["key"], mode)
        if mode == "down":
            return web.json_response({}, status=503)
        if mode == "silent":
            await asyncio.sleep(TIME_LIMIT * 2)
            return self.hang_up(request)
        if mode == "slow":
            await asyncio.sleep(self.random.uniform(0.3, 0.9) * TIME_LIMIT)
        if mode == "late":
            await asyncio.sleep(self.random.uniform(1.1, 3) * TIME_LIMIT)
        try:
            answer = self.act(verb, body, mode) | {"key": body["key"]}
        except ValueError as exc:
            return web.json_response({"why": str(exc)}, status=409)
        if mode == "lost":
            return self.hang_up(request)
        return await self.answer(request, answer, twice=mode == "twice")

    def act(self, verb: str, body: dict[str, str], mode: str) -> dict[str, str]:
        if verb == "charge":
            decline = mode == "decline"
            return {"outcome": self.ledger.charge(body["key"], body["amount"], decline=decline)}
        if verb == "refund":
            return {"why": self.ledger.refund(body["key"], body["charge_key"], body["amount"])}
        found = None if mode == "forgets" else self.ledger.outcome(body["key"])
        return {"outcome": found or "not_found"}

    @staticmethod
    def hang_up(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    @staticmethod
    async def answer(
        request: web.Request, data: dict[str, str], *, twice: bool
    ) -> web.StreamResponse:
        response = web.json_response(data, status=422 if data.get("why") else 200)
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:  # the caller has given up
            return response
        if twice and request.transport is not None:
            body = json.dumps(data).encode()
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            request.transport.write(f"{head}\r\n\r\n".encode() + body)
        return response


class Client:
    """The PAYMENT_GATEWAY of the site under test."""

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None  # belongs to the loop of its first call

    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        answer = await self.call("charge", time_limit, key=key, amount=amount)
        return Outcome(answer["outcome"])

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        return Outcome((await self.call("look_up", time_limit, key=key))["outcome"])

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        await self.call("refund", time_limit, key=key, charge_key=charge_key, amount=amount)

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()
            self.session = None

    async def call(self, verb: str, time_limit: float, **body: object) -> dict[str, Any]:
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200))
        data = {name: str(value) for name, value in body.items()}
        try:
            async with self.session.post(
                f"{os.environ['GATEWAY_URL']}/{verb}",
                json=data,
                timeout=aiohttp.ClientTimeout(total=time_limit),
            ) as response:
                if response.status not in (200, 422):
                    raise GatewayUnavailable
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise GatewayUnavailable from exc
        if answer.get("key") != data["key"]:  # the second answer to the call before
            raise GatewayUnavailable
        if why := answer.get("why"):
            raise RefundRefused(why)
        return answer


def main() -> None:
    port, path, seed = sys.argv[1:]
    server = Server(Ledger(Path(path)), int(seed))
    web.run_app(server.application(), host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
