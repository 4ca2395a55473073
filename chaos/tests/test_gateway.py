"""The gateway of chaos runs keeps its promises to an honest site, and shows what a careless one does."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from decimal import Decimal
from uuid import uuid4

import pytest

from bookings.gateways.base import GatewayUnavailable, Outcome
from chaos import gateway
from ticketbook.tests.running import free_port


class Running:
    def __init__(self, port, ledger):
        self.url, self.ledger = f"http://127.0.0.1:{port}", ledger

    def mode(self, mode):
        body = json.dumps({"mode": mode, "seconds": 60}).encode()
        request = urllib.request.Request(f"{self.url}/mode", data=body, method="PUT")
        urllib.request.urlopen(request, timeout=5).close()

    def rows(self, table):
        with closing(sqlite3.connect(self.ledger)) as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    port, ledger = free_port(), tmp_path_factory.mktemp("gateway") / "ledger.sqlite3"
    # Without its usual chances: each test sets what happens.
    code = (
        "from chaos import gateway; gateway.USUAL.clear(); gateway.IN_A_FAULT = 1; gateway.main()"
    )
    command = [sys.executable, "-c", code, str(port), str(ledger), "1"]
    with subprocess.Popen(command) as process:
        running, deadline = Running(port, ledger), time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                running.mode("")
                break
            except OSError:
                time.sleep(0.05)
        yield running
        process.terminate()


@pytest.fixture
def server(process, monkeypatch):
    monkeypatch.setenv("GATEWAY_URL", process.url)
    process.mode("")
    with closing(sqlite3.connect(process.ledger)) as db:
        db.executescript("DELETE FROM capture; DELETE FROM refund; DELETE FROM charge")
    return process


def talk(*calls):
    """What the calls return or raise, made one after the other by one client."""

    async def all_of_them():
        client, told = gateway.Client(), []
        for verb, arguments in calls:
            try:
                told.append(await getattr(client, verb)(time_limit=1.0, **arguments))
            except GatewayUnavailable:
                told.append("no answer")
        await client.close()
        return told

    return asyncio.run(all_of_them())


def charge(key):
    return "charge", {"key": key, "amount": Decimal("10.00")}


def look_up(key):
    return "look_up", {"key": key}


def test_a_charge_takes_money_once_for_each_key(server):
    key = uuid4()
    assert talk(charge(key), charge(key), look_up(key)) == [Outcome.SUCCEEDED] * 3
    assert talk(look_up(uuid4())) == [Outcome.NOT_FOUND]
    assert server.rows("capture") == 1
    talk(charge(uuid4()))  # what a site does that charges again under another key
    assert server.rows("capture") == 2


def test_a_refund_is_sent_once_for_each_key(server):
    key, refund = uuid4(), uuid4()
    back = {"key": refund, "charge_key": key, "amount": Decimal("10.00")}
    assert talk(charge(key), ("refund", back), ("refund", back)) == [Outcome.SUCCEEDED, None, None]
    assert server.rows("refund") == 1
    talk(("refund", back | {"key": uuid4()}))
    assert server.rows("refund") == 2


@pytest.mark.parametrize(
    ("mode", "captures"), [("lost", 1), ("silent", 0), ("down", 0), ("late", 1)]
)
def test_no_answer_says_nothing_about_the_money(server, mode, captures):
    server.mode(mode)
    assert talk(charge(uuid4())) == ["no answer"]
    deadline = time.monotonic() + 10
    while server.rows("capture") < captures and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.rows("capture") == captures


def test_a_second_answer_is_not_taken_for_the_next_one(server):
    server.mode("twice")
    keys = [uuid4() for _ in range(50)]
    told = talk(*map(charge, keys), *map(look_up, keys))
    for charged, found in zip(told[:50], told[50:], strict=True):
        # A call that meets an old answer is given up, perhaps before it has reached the gateway.
        unsure = {Outcome.NOT_FOUND} if charged == "no answer" else set()
        assert charged in {Outcome.SUCCEEDED, "no answer"}
        assert found in {Outcome.SUCCEEDED, "no answer"} | unsure
    server.mode("")
    sure = [key for key, charged in zip(keys, told, strict=False) if charged is Outcome.SUCCEEDED]
    assert talk(*map(look_up, sure)) == [Outcome.SUCCEEDED] * len(sure)
    assert talk(*map(charge, keys)) == [Outcome.SUCCEEDED] * 50
    assert server.rows("capture") == 50


def test_a_gateway_that_forgets_finds_it_again(server):
    key = uuid4()
    server.mode("forgets")
    assert talk(charge(key), look_up(key)) == [Outcome.SUCCEEDED, Outcome.NOT_FOUND]
    server.mode("")
    assert talk(look_up(key)) == [Outcome.SUCCEEDED]


def test_a_declined_charge_takes_no_money(server):
    server.mode("decline")
    assert talk(charge(uuid4())) == [Outcome.DECLINED]
    assert server.rows("capture") == 0


def test_a_charge_of_another_amount_under_the_same_key_is_refused(server):
    key = uuid4()
    other = "charge", {"key": key, "amount": Decimal("11.00")}
    assert talk(charge(key), other) == [Outcome.SUCCEEDED, "no answer"]
    assert server.rows("capture") == 1
