"""Guests of a chaos run: they book by the pages, with a name and an address, and have no account.

A guest's address belongs to somebody who has an account too and books with it meanwhile, so the limit for one
customer is counted over both. The browser remembers bookings by its signed cookie. Now and then a guest keeps
the bookings in the account.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from html import unescape
from typing import Any
from uuid import UUID

import aiohttp

from chaos import clients
from chaos.clients import Buyer, Crowd
from chaos.history import GUEST, OK, REFUSED, UNKNOWN, Attempt
from chaos.quiet import with_connection
from chaos.stage import PASSWORD, Customer, StagedTier
from chaos.system import SETTINGS

# What guests do of clients.WISHES, and with what weight they keep their bookings in an account.
WISHES = ("book", "book_again", "borrow_key", "cancel", "look_up")
KEEPS = 2
# A cookie and a field of the same value are what the forms ask for.
TOKEN = "c" * 32
COOKIES = {"csrftoken": TOKEN}
REMEMBERED = 8  # bookings; the cookie has the newest twenty

FIELD = re.compile(r'<input type="hidden" name="(seen_\w+)" value="([^"]*)"')
HEAD = re.compile(r"<h1[^>]*>([^<]*)</h1>")
RETURNED = re.compile(r"You returned (\d+) of \d+ tickets")
BOOKING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# By the heading of a booking's page. Of one that is called off it does not say what became of it.
STATUSES = {
    "Your tickets": "CONFIRMED",
    "Your tickets are booked": "CONFIRMED",
    "Your tickets wait for your payment": "PENDING",
    "Waiting for your payment": "PENDING",
    "Your booking is cancelled": "CANCELLED",
    "The payment was declined": "FAILED",
    "Your payment came too late": "FAILED",
    "Your time to pay is over": "FAILED",
    "This booking did not go through": "FAILED",
}
# By a sentence of the page that is drawn again when a form was refused.
REFUSALS = {
    "Not enough tickets are left in this tier.": "insufficient_tickets",
    "One customer may not have that many tickets of this tier.": "customer_limit_reached",
    "This concert is not on sale now": "sales_closed",
    "That was a moment before sales opened.": "sales_closed",
    "What you were shown is not so any more.": "changed",
    "You have already made another booking from this page": "idempotency_key_reused",
}
LEFT = re.compile(r"(\d+) (?:is|are) left\. Nothing was charged")


class Guest(Buyer):
    """A customer without an account, in a browser of their own. `customer` has no token."""

    def __init__(self, crowd: Crowd, name: str, customer: Customer) -> None:
        super().__init__(crowd, name, customer)
        self.email, self.headers = customer.email, {}
        self.pages: dict[
            str, dict[str, str]
        ] = {}  # hidden fields of a concert's form, as last drawn

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(
            self.crowd.url,
            connector=connector,
            timeout=clients.TIME_OUT,
            cookies=COOKIES,
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # of 127.0.0.1 too
        ) as self.http:
            await self.act()
            await asyncio.gather(*self.paying.values())

    def wishes(self) -> Mapping[str, int]:
        return {name: clients.WISHES[name] for name in WISHES} | {"keep": KEEPS}

    async def book_some(self, tier: StagedTier, quantity: int) -> None:
        if tier.concert not in self.pages or self.draw.random() < 0.5:
            await self._draw_page(tier.concert)
        shown = self.pages.get(tier.concert)
        price = shown and shown.get(f"seen_price_{UUID(tier.id).hex}")
        if not shown or not price:
            return
        request = {"tier": tier.id, "quantity": quantity, "key": clients.drawn(self.draw)}
        request |= {"max_total": f"{float(price) * quantity:.2f}", "seen": shown}
        self.sent.append(request)
        await self.ask_to_book(request)

    async def borrow_key(self) -> None:
        # Also of the account with the same address. They know nothing of each other's keys.
        if self.crowd.sent:
            request = dict(self.draw.choice(self.crowd.sent[-40:]))
            request.pop("max_total", None)
            await self.ask_to_book(request)

    async def ask_to_book(self, request: dict[str, Any]) -> None:
        form = {"tier": request["tier"], "quantity": str(request["quantity"])}
        form |= {"idempotency_key": request["key"], "name": "Guest", "email": self.email}
        form |= request.get("seen", {})
        noted = {name: value for name, value in request.items() if name != "seen"}
        attempt = await self._insist("book", noted, "POST", "/bookings/", form)
        if attempt.outcome != OK:
            return
        booking = attempt.answer["bookingId"]
        if booking not in [each["id"] for each in self.mine]:
            self.mine.append({"id": booking, "quantity": request["quantity"]})
        action = attempt.answer.get("nextAction", {}).get("url", "")
        if action and action not in self.paying:
            self.paying[action] = asyncio.create_task(self._pay(action, {"id": booking}))
        looked = await self._look_up(booking)
        if looked.answer and looked.answer.get("status") == "CONFIRMED" and "max_total" in request:
            self.crowd.booked.append((booking, request["max_total"]))

    async def cancel(self) -> None:
        if booking := self._some_booking():
            path = f"/bookings/{booking['id']}/cancellation/"
            await self._insist("cancel", {"booking": booking["id"]}, "POST", path, {})
            await self._look_up(booking["id"])

    async def keep(self) -> None:
        """Log in to the account with this address, and keep the guest's bookings there."""
        link = await asyncio.to_thread(with_connection, link_to_keep, self.email)
        if not link:
            return
        async with aiohttp.ClientSession(
            self.crowd.url,
            timeout=clients.TIME_OUT,
            cookies=COOKIES,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as browser:
            typed = {"username": self.email, "password": PASSWORD}
            with self.crowd.recorder.attempt(self.name, "log_in", {}) as attempt:
                await _send(browser, attempt, "POST", "/accounts/login/", typed)
            if attempt.status != 302:
                return
            with self.crowd.recorder.attempt(self.name, "keep", {"email": self.email}) as attempt:
                await _send(browser, attempt, "POST", f"/bookings/keep/{link}/", {})
                attempt.outcome = OK if attempt.status == 303 else attempt.outcome

    async def _draw_page(self, concert: str) -> None:
        with self.crowd.recorder.attempt(self.name, "page", {"concert": concert}) as attempt:
            text = await _send(self.http, attempt, "GET", f"/concerts/{concert}/")
        if attempt.outcome == OK:
            shown = {name: unescape(value) for name, value in FIELD.findall(text)}
            self.pages[concert] = shown | {"concert": concert}

    async def _look_up(self, booking: str) -> Attempt:
        with self.crowd.recorder.attempt(self.name, "look_up", {"booking": booking}) as attempt:
            text = await _send(self.http, attempt, "GET", f"/bookings/{booking}/")
            attempt.answer = _booking_of(text, booking) if attempt.outcome == OK else None
            if attempt.status == 302:  # to log in: this browser does not know the booking
                attempt.outcome, attempt.code = REFUSED, "not_found"
        return attempt

    async def _send(
        self, verb: str, request: dict[str, Any], method: str, path: str, body: Any = None
    ) -> Attempt:
        with self.crowd.recorder.attempt(self.name, verb, request) as attempt:
            text = await _send(self.http, attempt, method, path, body)
            if verb == "book" and attempt.status:
                _read_refusal(attempt, text, request)
            elif verb == "cancel" and attempt.status == 302:
                attempt.outcome, attempt.code = REFUSED, "not_found"
            elif attempt.status == 303:  # the next page says what became of it
                attempt.outcome, attempt.code = UNKNOWN, clients.SEE_OTHER
        return attempt

    def _mine_if_confirmed(self, booking: dict[str, Any]) -> bool:
        confirmed: bool = booking.get("status") == "CONFIRMED"
        return confirmed

    def _some_booking(self) -> dict[str, Any] | None:
        return self.draw.choice(self.mine[-REMEMBERED:]) if self.mine else None


async def _send(
    browser: aiohttp.ClientSession, attempt: Attempt, method: str, path: str, form: Any = None
) -> str:
    """The text of the answer. After a redirect the attempt has its address, and is still unknown."""
    data = None if form is None else {"csrfmiddlewaretoken": TOKEN} | form
    try:
        async with browser.request(method, path, data=data, allow_redirects=False) as response:
            text = await response.text()
            attempt.status = response.status
            attempt.retry_after = response.headers.get("Retry-After", "")
            if 300 <= response.status < 400:
                attempt.answer = {"location": response.headers["Location"]}
            else:
                attempt.outcome = clients.outcome_of(response.status)
            return text
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        attempt.outcome, attempt.error = UNKNOWN, f"{type(exc).__name__}: {exc}"
        return ""


def _read_refusal(attempt: Attempt, text: str, request: dict[str, Any]) -> None:
    """What the answer to a booking's form says: the booking, or why there is none."""
    if attempt.status in {302, 303}:
        location = attempt.answer["location"]
        found = BOOKING.search(location)
        if found is None:
            attempt.error = f"It leads to {location}."
            return
        attempt.outcome, attempt.answer = OK, {"bookingId": found[0]}
        if not location.startswith("/"):  # the payment page
            attempt.answer["nextAction"] = {"url": location}
        return
    if attempt.status in {404, 410}:
        attempt.code = "not_found"
    elif attempt.status < 500:
        codes = [code for sentence, code in REFUSALS.items() if sentence in text]
        attempt.code = codes[0] if codes else f"unread_{attempt.status}"
    attempt.answer = _facts_of(attempt.code, text, request)


def _facts_of(code: str, text: str, request: dict[str, Any]) -> dict[str, Any]:
    if code == "insufficient_tickets":
        left = LEFT.search(text)
        return {"availableQuantity": int(left[1]) if left else 0}
    if code == "changed":
        prices = dict(FIELD.findall(text))
        price = prices.get(f"seen_price_{UUID(request['tier']).hex}")
        if price and float(price) * request["quantity"] > float(request.get("max_total", "inf")):
            return {"price": price}
    return {}


def _booking_of(text: str, booking: str) -> dict[str, Any]:
    """What the page of a booking says, as the API would."""
    head = HEAD.search(text)
    status = STATUSES.get(unescape(head[1]).strip(), "") if head else ""
    if not status:
        return {"bookingId": booking}
    returned = RETURNED.search(text)
    return {"id": booking, "status": status} | (
        {"returnedQuantity": int(returned[1])} if returned else {}
    )


def link_to_keep(email: str) -> str:
    """What the mail about keeping a guest's bookings leads to; empty if no guest was found."""
    from django.core import signing
    from django.db import DatabaseError
    from django.utils import timezone

    from accounts.models import User

    guest = None
    with suppress(DatabaseError):  # a fault may have stopped it
        guest = User.objects.guests().filter(email=email).first()
    if guest is None:
        return ""
    signer = signing.Signer(key=SETTINGS["SECRET_KEY"], salt="bookings.claiming")
    return signer.sign(f"{guest.pk.hex}-{int(timezone.now().timestamp())}")


def guest_of(customer: Customer) -> Customer:
    return Customer(customer.email, token="")


def identity(customer: Customer) -> str:
    """Who a client is, for the history (chaos/history.py)."""
    return customer.email if customer.token else GUEST + customer.email
