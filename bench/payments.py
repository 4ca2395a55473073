"""make soak-payments: let thousands of customers pay at the payment page, and check every cent.

PAYMENTS is the number of bookings. The default, 10,000, takes about five minutes. Customers book by the API
and press a button at the payment page: most pay, some are declined, leave, pay twice, or pay after the time.
One webhook in twenty is lost, one comes twice, and one comes after the next one. KILLS times (five) the
worker is killed and started again. Two minutes after the last customer at the latest, every booking must be
settled, and every payment kept by a confirmed booking or sent back in full, once. Otherwise it says what is
wrong, and exits with 1.

`python -m bench.payments judge` judges the data of the last run again.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.payments_judge import Facts, gather, judge, webhooks
from bench.servers import HERE, Server, free_port, server
from bench.site import Site, new_tier

SITE = Site("payments")
PAYMENTS = int(os.environ.get("PAYMENTS", 10_000))
KILLS = int(os.environ.get("KILLS", 5))
HOLD_SECONDS = os.environ.get("HOSTED_HOLD_SECONDS", "20")
AT_ONCE = 100  # customers
THINKS = 2.0  # seconds at most, before a customer presses a button
LIMIT = 120.0  # seconds after the last customer

SETTINGS = {
    "PAYMENT_DEFAULT": "hosted",
    "HOSTED_HOLD_SECONDS": HOLD_SECONDS,
    "HOSTED_WEBHOOK_LOSS_RATE": "0.05",
    "HOSTED_WEBHOOK_DOUBLE_RATE": "0.05",
    "HOSTED_WEBHOOK_REORDER_RATE": "0.05",
    "HOSTED_WEBHOOK_DELAY_MS": "20",
}
# What customers do at the payment page, of a hundred.
BUTTONS = {"pay": 80, "decline": 7, "close": 4, "nothing": 4, "twice": 3, "slow": 2}


@dataclass
class Run:
    """What the customers have seen."""

    answers: Counter[int] = field(default_factory=Counter)
    pressed: Counter[str] = field(default_factory=Counter)
    booked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    done: int = 0
    seconds: float = 0
    settling: float = 0  # seconds after the last customer until all was settled
    kills: int = 0


def main() -> None:
    if sys.argv[1:] == ["judge"]:
        _set_up()
        _end(judge(gather(_ledger())))
    shutil.rmtree(SITE.data_dir, ignore_errors=True)
    SITE.fill(concerts=0, bookings=0)
    _set_up()
    settings = SETTINGS | {"HOSTED_PORT": str(free_port())}
    run = Run()
    with (
        server(SITE, changes=settings) as web,
        _payment_page(web, settings),
        _Worker(settings) as worker,
    ):
        asyncio.run(_customers(run, web, worker))
        facts, wrong = _settled(run)
    _print(run, facts)
    _end(run.problems + wrong)


def _set_up() -> None:
    os.environ.update(SITE.environment)
    import django

    django.setup()


def _ledger() -> Path:
    return SITE.data_dir / "payment_page.sqlite3"


def _end(wrong: list[str]) -> None:
    for sentence in wrong:
        print("WRONG:", sentence)
    if not wrong:
        print("All is well.")
    sys.exit(1 if wrong else 0)


# --- The processes beside the web server ----------------------------------------------------------------


@contextmanager
def _payment_page(web: Server, settings: dict[str, str]) -> Iterator[None]:
    command = ["payment_page", "--webhooks", f"{web.url}/payments/hosted/events"]
    process = _manage(*command, settings=settings, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("The payment page did not start.")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


class _Worker:
    """The job worker, which can be killed."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings

    def __enter__(self) -> "_Worker":
        self.process = _manage("procrastinate", "worker", settings=self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.__enter__()


def _manage(*command: str, settings: dict[str, str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=HERE.parent,
        env=SITE.environment | settings,
        **options,
    )


# --- The customers --------------------------------------------------------------------------------------


async def _customers(run: Run, web: Server, worker: _Worker) -> None:
    tier, tokens = await asyncio.to_thread(new_tier), SITE.tokens()
    numbers = iter(range(PAYMENTS))
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=2 * AT_ONCE)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:

        async def customer() -> None:
            for number in numbers:
                client = _Customer(http, run, web, tokens[number % len(tokens)])
                try:
                    await client.book_and_pay(tier)
                except (aiohttp.ClientError, TimeoutError, AssertionError) as exc:
                    run.problems.append(f"A customer failed: {type(exc).__name__}: {exc}")
                run.done += 1

        killing = asyncio.create_task(_kill_sometimes(run, worker))
        await asyncio.gather(*(customer() for _ in range(AT_ONCE)))
        run.seconds = time.monotonic() - began
        await killing


async def _kill_sometimes(run: Run, worker: _Worker) -> None:
    for number in range(1, KILLS + 1):
        while run.done < PAYMENTS * number / (KILLS + 1):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(worker.kill)
        run.kills += 1


class _Customer:
    def __init__(self, http: aiohttp.ClientSession, run: Run, web: Server, token: str) -> None:
        self.http, self.run, self.web = http, run, web
        self.headers = {"Authorization": f"Token {token}"}

    async def book_and_pay(self, tier: uuid.UUID) -> None:
        body = await self._book(tier)
        if body is None or "nextAction" not in body:  # it was busy, or the page did not answer
            return
        url = body["nextAction"]["url"]
        [button] = random.choices(list(BUTTONS), weights=list(BUTTONS.values()))
        self.run.pressed[button] += 1
        await asyncio.sleep(random.uniform(0, THINKS))
        if button != "nothing":
            await self._press(url, button)

    async def _book(self, tier: uuid.UUID) -> Any:
        # A client that gets no answer, or a 503, sends the same request again.
        request = {
            "ticketTierId": str(tier),
            "quantity": random.randint(1, 3),
            "idempotencyKey": str(uuid.uuid4()),
        }
        for _ in range(10):
            async with self.http.post(
                f"{self.web.url}/api/v1/bookings", json=request, headers=self.headers
            ) as response:
                self.run.answers[response.status] += 1
                body = await response.json(content_type=None)
            if response.status == 202:
                self.run.booked.append(body["id"])
                return body
            if response.status not in {409, 503}:
                raise AssertionError(f"{response.status}: {body}")
            await asyncio.sleep(0.5)
        return None

    async def _press(self, url: str, button: str) -> None:
        async with self.http.post(url, data={"button": button}, allow_redirects=False) as response:
            if response.status not in {200, 303}:
                raise AssertionError(f"The payment page answered {response.status}.")


# --- The end --------------------------------------------------------------------------------------------


def _settled(run: Run) -> tuple[Facts, list[str]]:
    """Wait until all is well, but not longer than LIMIT; returns the facts and what is wrong with them."""
    began = time.monotonic()
    while True:
        facts = gather(_ledger())
        lost = set(run.booked) - facts.bookings.keys()
        wrong = judge(facts) + [f"Booking {pk} is gone." for pk in lost]
        run.settling = time.monotonic() - began
        if not wrong or run.settling > LIMIT:
            return facts, wrong
        time.sleep(1)


def _print(run: Run, facts: Facts) -> None:
    states = Counter(
        f"{row.status}, payment {row.payment_status}" for row in facts.bookings.values()
    )
    taken = sum(amount for _, amount in facts.captures)
    back = sum(refund.amount for refund in facts.page_refunds)
    print(f"{len(facts.bookings)} bookings in {run.seconds:.0f} s, {run.kills} workers killed")
    print("answers:", _counts(run.answers))
    print("customers:", _counts(run.pressed))
    print("webhooks:", _counts(Counter(webhooks(_ledger()))))
    print("bookings:", _counts(states))
    print(f"money: {taken} taken in {len(facts.captures)} payments,")
    print(f"       {back} sent back in {len(facts.page_refunds)} refunds")
    print(f"settled {run.settling:.0f} s after the last customer")


def _counts(counter: Counter[Any]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in counter.most_common())


if __name__ == "__main__":
    main()
