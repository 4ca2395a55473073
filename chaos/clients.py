"""Clients of a chaos run: customers with an account over HTTP, and staff. Guests are in chaos/guests.py.

Each draws what it does from a generator of its own, seeded by the run's seed and its name. They are rude:
they send again under the same key what got no answer, send one key on two connections at once, send old keys
again, and cancel and return tickets while their own retries are still under way.
"""

import asyncio
import json
import random
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

from bench.servers import HERE
from chaos.history import OK, REFUSED, UNKNOWN, Attempt, Recorder
from chaos.stage import Customer, Stage, StagedTier
from chaos.system import PAGE_HOLD_SECONDS

API = "/api/v1"
TIME_OUT = aiohttp.ClientTimeout(total=4)
PATIENT = aiohttp.ClientTimeout(
    total=15
)  # of one request in ten, which shows whether an answer ever comes
TRIES = 5  # of one request
MANY, BURSTS = 25, 0.1  # requests at once, and how often a client sends so many
MOST = 6.0
THINKS = 0.25  # seconds at most between two things that a customer does

# What a customer does, of a hundred.
WISHES = {
    "book": 43,
    "book_again": 6,
    "borrow_key": 2,
    "pry": 2,
    "meddle": 1,
    "cancel": 12,
    "return": 12,
    "look_up": 8,
    "my_bookings": 5,
    "availability": 6,
    "concert": 3,
}
STAFF_WISHES = {
    "capacity": 30,
    "keep_back": 30,
    "price": 20,
    "refund": 10,
    "book_for": 10,
    "message": 6,
}
# What a customer does at the payment page, of a hundred. Some come when their time is about to end.
BUTTONS = {"pay": 62, "late": 10, "decline": 8, "twice": 5, "slow": 5, "close": 4, "nothing": 6}
CALLS_OFF_AT = 0.75  # of the run
SEE_OTHER = "see_other"  # the code of an answer which says that another page has more


@dataclass
class Crowd:
    """What all clients share."""

    stage: Stage
    recorder: Recorder
    url: str
    seed: int
    seconds: float  # when the clients stop, on the recorder's clock
    requests: int = 0  # unless there were fewer by then: they go on, for MOST times as long at most
    booked: list[tuple[str, str]] = field(default_factory=list)  # booking, price
    sent: list[dict[str, Any]] = field(default_factory=list)  # requests to book

    def is_over(self) -> bool:
        now, enough = self.recorder.now(), self.recorder.requests >= self.requests
        return now >= self.seconds * (1 if enough else MOST)


def buyers(stage: Stage, clients: int) -> Iterator[tuple[str, Customer]]:
    """The names of so many clients, and who each of them is."""
    for number in range(clients):
        yield f"buyer-{number}", stage.customers[number % len(stage.customers)]


def drawn(draw: random.Random) -> str:
    # A UUID by seed.
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


class Buyer:
    def __init__(self, crowd: Crowd, name: str, customer: Customer) -> None:
        self.crowd, self.name = crowd, name
        self.draw = random.Random(f"{crowd.seed} {name}")
        self.headers = {"Authorization": f"Token {customer.token}"}
        self.sent: list[dict[str, Any]] = []  # requests to book
        self.mine: list[dict[str, Any]] = []  # bookings, as they were told
        self.prices = {tier.id: Decimal(tier.price) for tier in crowd.stage.tiers}  # as last seen
        self.paying: dict[
            str, asyncio.Task[None]
        ] = {}  # visits to the payment page, by its address

    async def run(self) -> None:
        # A connection for each request, so that each may reach another process of the web server.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(
            self.crowd.url, connector=connector, timeout=TIME_OUT, headers=self.headers
        ) as self.http:
            await self.act()
            await asyncio.gather(*self.paying.values())

    async def act(self) -> None:
        while not self.crowd.is_over():
            wishes = self.wishes()
            [wish] = self.draw.choices(list(wishes), weights=list(wishes.values()))
            await getattr(self, wish)()
            await asyncio.sleep(self.draw.uniform(0, THINKS))

    def wishes(self) -> Mapping[str, int]:
        return WISHES

    # --- Verbs --------------------------------------------------------------------------------------------

    async def book(self) -> None:
        tiers = self.crowd.stage.tiers
        [tier] = self.draw.choices(tiers, weights=[each.wished for each in tiers])
        [quantity] = self.draw.choices([1, 2, 3, 4, 10], weights=[45, 30, 12, 10, 3])
        await self.book_some(tier, quantity)

    async def book_some(self, tier: StagedTier, quantity: int) -> None:
        request = {"tier": tier.id, "quantity": quantity, "key": drawn(self.draw)}
        if self.draw.random() < 0.7:
            request["max_total"] = str(self.prices[tier.id] * quantity)
        self.sent.append(request)
        self.crowd.sent.append(request)
        await self.ask_to_book(request)

    async def borrow_key(self) -> None:
        # By chance two customers have the same key. They know nothing of each other.
        if self.crowd.sent:
            request = dict(self.draw.choice(self.crowd.sent[-40:]))
            self.sent.append(request)
            await self.ask_to_book(request)

    async def pry(self) -> None:
        # A booking that may be somebody else's.
        if self.crowd.booked:
            booking, _ = self.draw.choice(self.crowd.booked[-40:])
            await self._look_up(booking)

    async def meddle(self) -> None:
        if self.crowd.booked:
            booking, _ = self.draw.choice(self.crowd.booked[-40:])
            path = f"{API}/bookings/{booking}/cancellation"
            await self._insist("cancel", {"booking": booking}, "POST", path, {})

    async def book_again(self) -> None:
        # The key of an old request, rarely with another quantity.
        if not self.sent:
            return
        request = dict(self.draw.choice(self.sent[-20:]))
        if self.draw.random() < 0.15:
            request["quantity"] = request["quantity"] % 10 + 1
        await self.ask_to_book(request)

    async def ask_to_book(self, request: dict[str, Any]) -> None:
        body = {
            "ticketTierId": request["tier"],
            "quantity": request["quantity"],
            "idempotencyKey": request["key"],
        }
        if "max_total" in request:
            body["maxTotal"] = request["max_total"]
        attempt = await self._insist("book", request, "POST", f"{API}/bookings", body)
        if attempt.outcome == OK:
            self._mine_if_confirmed(attempt.answer)
        elif attempt.code == "changed":
            self.prices[request["tier"]] = Decimal(attempt.answer["price"])
        elif action := _next_action(attempt):
            if action not in self.paying:
                self.paying[action] = asyncio.create_task(self._pay(action, attempt.answer))
        elif attempt.status == 202 and self.draw.random() < 0.5:
            await self._look_up(attempt.answer["id"])

    def _mine_if_confirmed(self, booking: dict[str, Any]) -> bool:
        confirmed: bool = booking["status"] == "CONFIRMED"
        if confirmed:
            self.mine.append(booking)
            self.crowd.booked.append((booking["id"], booking["totalPrice"]))
        return confirmed

    # --- At the payment page ------------------------------------------------------------------------------

    async def _pay(self, address: str, booking: dict[str, Any]) -> None:
        """Press a button at the page, come back, and look what has become of the booking."""
        [button] = self.draw.choices(list(BUTTONS), weights=list(BUTTONS.values()))
        wait, in_time = self.draw.uniform(0, 1.5), button != "late"
        if not in_time:
            button, wait = "pay", PAGE_HOLD_SECONDS + self.draw.uniform(-1, 1)
        if self.draw.random() < 0.1:  # wants to cancel what is not paid yet
            self.mine.append(booking)
        await asyncio.sleep(wait)
        if button == "nothing":
            return
        request = {"booking": booking["id"], "button": button}
        with self.crowd.recorder.attempt(self.name, "pay", request) as attempt:
            try:
                async with self.http.post(
                    address, data={"button": button}, allow_redirects=False
                ) as response:
                    attempt.status, attempt.outcome = response.status, outcome_of(response.status)
            except (aiohttp.ClientError, TimeoutError) as exc:
                attempt.error = f"{type(exc).__name__}: {exc}"
        for _ in range(3):
            looked = await self._look_up(booking["id"])
            if looked.outcome == OK and self._mine_if_confirmed(looked.answer):
                return
            await asyncio.sleep(0.5)

    async def cancel(self) -> None:
        if booking := self._some_booking():
            request = {"booking": booking["id"]}
            body = {}
            if self.draw.random() < 0.3:
                request["key"] = body["idempotencyKey"] = drawn(self.draw)
            path = f"{API}/bookings/{booking['id']}/cancellation"
            await self._insist("cancel", request, "POST", path, body)

    async def return_tickets(self) -> None:
        if booking := self._some_booking():
            number = self.draw.randint(1, booking["quantity"])
            key = drawn(self.draw)
            request = {"booking": booking["id"], "quantity": number, "key": key}
            path = f"{API}/bookings/{booking['id']}/cancellation"
            body = {"quantity": number, "idempotencyKey": key}
            if self.draw.random() < 0.2:  # a cancellation at the same moment
                await asyncio.gather(
                    self._insist("return", request, "POST", path, body),
                    self._insist("cancel", {"booking": booking["id"]}, "POST", path, {}),
                )
            else:
                await self._insist("return", request, "POST", path, body)

    def _some_booking(self) -> dict[str, Any] | None:
        return self.draw.choice(self.mine[-12:]) if self.mine else None

    async def look_up(self) -> None:
        if booking := self._some_booking():
            await self._look_up(booking["id"])

    async def _look_up(self, booking: str) -> Attempt:
        return await self._send("look_up", {"booking": booking}, "GET", f"{API}/bookings/{booking}")

    async def my_bookings(self) -> None:
        await self._send("my_bookings", {}, "GET", f"{API}/bookings?limit=100")

    async def availability(self) -> None:
        concert = self.draw.choice(self.crowd.stage.concerts)
        path = f"{API}/concerts/{concert}/availability"
        # So many at once that they are answered from copies.
        times = MANY if self.draw.random() < BURSTS else 1
        sends = (
            self._send("availability", {"concert": concert}, "GET", path) for _ in range(times)
        )
        attempt, *_ = await asyncio.gather(*sends)
        if attempt.outcome == OK:
            prices = {tier["tierId"]: Decimal(tier["price"]) for tier in attempt.answer["tiers"]}
            self.prices |= prices

    async def concert(self) -> None:
        concert = self.draw.choice(self.crowd.stage.concerts)
        await self._send("concert", {"concert": concert}, "GET", f"{API}/concerts/{concert}")

    # --- Sending ------------------------------------------------------------------------------------------

    async def _insist(
        self, verb: str, request: dict[str, Any], method: str, path: str, body: Any
    ) -> Attempt:
        """Send until there is a definite answer, a few times; sometimes twice at once. The last attempt."""
        twice = self.draw.random() < 0.15
        for number in range(TRIES):
            sends = [self._send(verb, request, method, path, body)]
            if twice and not number:
                sends.append(self._send(verb, request, method, path, body))
            attempts = await asyncio.gather(*sends)
            attempt = next((each for each in attempts if _is_definite(each)), attempts[-1])
            if _is_definite(attempt) or self.crowd.is_over() or _next_action(attempt):
                break
            await asyncio.sleep(self.draw.uniform(0.05, 0.6))
        return attempt

    async def _send(
        self, verb: str, request: dict[str, Any], method: str, path: str, body: Any = None
    ) -> Attempt:
        patience = PATIENT if self.draw.random() < 0.1 else TIME_OUT
        with self.crowd.recorder.attempt(self.name, verb, request) as attempt:
            try:
                async with self.http.request(method, path, json=body, timeout=patience) as response:
                    attempt.status = response.status
                    attempt.replayed = "Idempotent-Replayed" in response.headers
                    attempt.retry_after = response.headers.get("Retry-After", "")
                    attempt.answer = _without_details(await response.json(content_type=None))
                    attempt.outcome = outcome_of(response.status)
                    if response.status >= 400:
                        attempt.code = attempt.answer["code"]
            except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as exc:
                attempt.outcome, attempt.error = UNKNOWN, f"{type(exc).__name__}: {exc}"
        return attempt


# What a customer wishes is a method of the same name, but for this one, which is a word of Python's.
setattr(Buyer, "return", Buyer.return_tickets)


def _without_details(answer: Any) -> Any:
    # The concert and the tier of each booking would make up most of a history.
    if not isinstance(answer, list):
        return answer
    return [
        {name: value for name, value in row.items() if name not in {"concert", "ticketTier"}}
        for row in answer
    ]


def outcome_of(status: int) -> str:
    if status == 202 or status >= 500:
        return UNKNOWN
    return REFUSED if status >= 400 else OK


def _next_action(attempt: Attempt) -> str:
    """Where the customer has to pay, if they have to."""
    answer = attempt.answer if isinstance(attempt.answer, dict) else {}
    return str(answer.get("nextAction", {}).get("url", ""))


def _is_definite(attempt: Attempt) -> bool:
    is_known = attempt.outcome != UNKNOWN and attempt.code != "request_in_progress"
    return is_known or attempt.code == SEE_OTHER


class Staff:
    """One member of staff, who acts in a process of their own (chaos/staff.py)."""

    LIMIT = 10.0  # seconds for an answer
    START_LIMIT = 60.0  # seconds

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.process: asyncio.subprocess.Process | None = None
        self.crowd: Crowd

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chaos.staff",
            cwd=HERE.parent,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        await asyncio.wait_for(self.process.stdout.readline(), self.START_LIMIT)  # it is ready

    async def run(self, crowd: Crowd) -> None:
        """Do what staff do until the time is over. Calls off a concert late in it."""
        self.crowd, self.draw = crowd, random.Random(f"{crowd.seed} staff")
        called_off = False
        while not self.crowd.is_over():
            late = self.crowd.recorder.now() > CALLS_OFF_AT * self.crowd.seconds
            if late and not called_off:
                concert = {"concert": self.crowd.stage.called_off}
                called_off = (await self.ask("call_off", concert)).outcome == OK
            else:
                [wish] = self.draw.choices(list(STAFF_WISHES), weights=list(STAFF_WISHES.values()))
                if request := getattr(self, f"_{wish}")(self.draw.choice(self.crowd.stage.tiers)):
                    await self.ask(wish, request)
            await asyncio.sleep(self.draw.uniform(0.2, 1.2))

    async def end(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None

    def _capacity(self, tier: StagedTier) -> dict[str, Any]:
        return {"tier": tier.id, "total": round(tier.capacity * self.draw.uniform(0.7, 1.4))}

    def _keep_back(self, tier: StagedTier) -> dict[str, Any]:
        return {"tier": tier.id, "tickets": self.draw.randint(0, 4)}

    def _price(self, tier: StagedTier) -> dict[str, Any]:
        price = Decimal(tier.price) * round(self.draw.uniform(0.5, 1.6) * 4) / 4
        return {"tier": tier.id, "price": f"{price:.2f}"}

    def _refund(self, tier: StagedTier) -> dict[str, Any] | None:
        if not self.crowd.booked:
            return None
        booking, price = self.draw.choice(self.crowd.booked[-50:])
        return {"booking": booking, "amount": f"{float(price) * self.draw.random() + 0.01:.2f}"}

    def _book_for(self, tier: StagedTier) -> dict[str, Any]:
        return {
            "tier": tier.id,
            "quantity": self.draw.randint(1, 3),
            "customer": self.draw.choice(self.crowd.stage.customers).email,
            "key": drawn(self.draw),
            "from_kept_back": self.draw.random() < 0.5,
        }

    def _message(self, tier: StagedTier) -> dict[str, Any]:
        return {"concert": tier.concert}

    async def ask(self, verb: str, request: dict[str, Any]) -> Attempt:
        """One request of staff to `self.crowd`'s site, which is recorded."""
        if self.process is None:
            await self.start()
        with self.crowd.recorder.attempt("staff", verb, request) as attempt:
            try:
                line = {"verb": verb, "by": self.crowd.stage.staff} | request
                answer = await asyncio.wait_for(self._exchange(line), self.LIMIT)
                attempt.outcome = answer["outcome"]
                attempt.code, attempt.error = answer.get("code", ""), answer.get("error", "")
                attempt.answer = answer.get("answer")
            except (OSError, TimeoutError, ValueError) as exc:
                attempt.error = f"{type(exc).__name__}: {exc}"
                await self.end()
        return attempt

    async def _exchange(self, line: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        await self.process.stdin.drain()
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer
