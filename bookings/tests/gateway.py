"""The client of gateway_server.py, and a handle for tests on its ledger."""

import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from decimal import Decimal

import aiohttp

from bookings.gateways.base import GatewayUnavailable, Outcome, RefundRefused

PORT_VARIABLE = "TEST_GATEWAY_PORT"


class HttpGateway:
    """The PAYMENT_GATEWAY of the tests.

    An environment variable says where its server is, so that child processes find it too.
    """

    def __init__(self):
        self.session = None  # made by the first call, on the event loop to which it then belongs

    async def charge(self, *, key, amount, time_limit):
        answer = await self.call("/charge", time_limit, key=key, amount=amount)
        return Outcome(answer["outcome"])

    async def look_up(self, *, key, time_limit):
        answer = await self.call("/look_up", time_limit, key=key)
        return Outcome(answer["outcome"])

    async def refund(self, *, key, charge_key, amount, time_limit):
        await self.call("/refund", time_limit, key=key, charge=charge_key, amount=amount)

    async def close(self):
        if self.session is not None:
            await self.session.close()
            self.session = None

    async def call(self, path, time_limit, **body):
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100))
        try:
            async with self.session.post(
                f"http://127.0.0.1:{os.environ[PORT_VARIABLE]}{path}",
                json={name: str(value) for name, value in body.items()},
                timeout=aiohttp.ClientTimeout(total=time_limit),
            ) as response:
                if response.status not in (200, 422):
                    raise GatewayUnavailable
                answer = await response.json(content_type=None)
                if response.status == 422:
                    raise RefundRefused(answer["why"])
                return answer
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise GatewayUnavailable from exc


class PlainGateway:
    """The same with plain functions, which run on the payment threads."""

    def charge(self, *, key, amount, time_limit):
        body = {"key": str(key), "amount": str(amount)}
        return Outcome(call("POST", "/charge", body, time_limit)["outcome"])

    def look_up(self, *, key, time_limit):
        return Outcome(call("POST", "/look_up", {"key": str(key)}, time_limit)["outcome"])

    def refund(self, *, key, charge_key, amount, time_limit):
        body = {"key": str(key), "charge": str(charge_key), "amount": str(amount)}
        call("POST", "/refund", body, time_limit)


def call(method, path, body, time_limit=5.0):
    try:
        connection = http.client.HTTPConnection(
            "127.0.0.1", int(os.environ[PORT_VARIABLE]), timeout=time_limit
        )
        with closing(connection):
            connection.request(method, path, json.dumps(body))
            response = connection.getresponse()
            if response.status not in (200, 422):
                raise GatewayUnavailable
            answer = json.loads(response.read())
            if response.status == 422:
                raise RefundRefused(answer["why"])
            return answer
    except (OSError, http.client.HTTPException) as exc:
        raise GatewayUnavailable from exc


class LedgerReader:
    """What the gateway says happened. It also sets the gateway's mode."""

    def __init__(self, path):
        self.path = path

    def mode(self, mode):
        call("PUT", "/mode", {"mode": mode})

    def query(self, sql, *args):
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql, args).fetchall()

    def clear(self):
        with closing(sqlite3.connect(self.path)) as db:
            db.executescript("DELETE FROM refund; DELETE FROM charge; DELETE FROM call;")

    def captured(self):
        """The amounts that were taken, by the key of the charge."""
        rows = self.query("SELECT key, amount FROM charge WHERE outcome = 'succeeded'")
        return {key: Decimal(amount) for key, amount in rows}

    def refunded(self):
        """What was given back in all, by the key of the charge."""
        sums = Counter()
        for key, amount in self.query("SELECT charge, amount FROM refund"):
            sums[key] += Decimal(amount)
        return dict(sums)

    def refunds(self):
        """The amount of each refund by its own key."""
        return {
            key: Decimal(amount) for key, amount in self.query("SELECT key, amount FROM refund")
        }

    def kept(self):
        """What was taken and not given back, by the key of the charge."""
        left = Counter(self.captured())
        left.subtract(self.refunded())
        return {key: amount for key, amount in left.items() if amount}

    def wait_until_quiet(self):
        """Wait until the gateway has served what clients sent before they hung up."""
        served = -1
        while served != (served := self.query("SELECT count(*) FROM call")[0][0]):
            time.sleep(0.5)

    def calls(self, verb):
        return self.query("SELECT count(*) FROM call WHERE verb = ?", verb)[0][0]


@contextmanager
def running_gateway(path):
    process = subprocess.Popen(
        [sys.executable, "-m", "bookings.tests.gateway_server", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        os.environ[PORT_VARIABLE] = process.stdout.readline().strip()
        try:
            yield LedgerReader(path)
        finally:
            os.environ.pop(PORT_VARIABLE)
            process.stdin.close()
            process.wait(timeout=10)
