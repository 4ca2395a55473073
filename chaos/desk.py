"""Staff of a chaos run who use the pages of the back office: they publish, move, change stock, and book.

Each press of a button has a key of its own: the form's. A form that got no answer is sent again with it, and
sometimes twice at once, so the referee can see that each press does its work once. The reason that is typed
names the press, and comes back in the history of the row (chaos/gathering.py).
"""

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from html import unescape
from typing import Any

import aiohttp

from chaos import clients
from chaos.clients import Crowd
from chaos.guests import TOKEN
from chaos.history import DESK, GUEST, OK, REFUSED, UNKNOWN, Attempt
from chaos.stage import PASSWORD, StagedTier

# What they do, of a hundred.
WISHES = {
    "add_tickets": 16,
    "keep_more_back": 14,
    "put_on_sale": 12,
    "publish": 18,
    "unpublish": 14,
    "move": 12,
    "book_for": 14,
    "hand_over": 12,
}
PAGES = {
    "add_tickets": "concerts/tickettier/{}/add-tickets",
    "keep_more_back": "concerts/tickettier/{}/keep-back",
    "put_on_sale": "concerts/tickettier/{}/give-free",
    "publish": "concerts/concert/{}/publish",
    "unpublish": "concerts/concert/{}/unpublish",
    "move": "concerts/concert/{}/move",
    "book_for": "concerts/tickettier/{}/book-for",
    "hand_over": "bookings/booking/{}/change-address",
}
TRIES = 4  # of one press
THINKS = 0.5  # seconds at most between two presses
STALE = 0.2  # how often the page of a move is one that was drawn before the last one
FIRST_DAY = date(2031, 3, 1)

SEEN = re.compile(r'name="seen"[^>]* value="([^"]*)"')
ONCE = re.compile(r'name="once" value="([^"]*)"')
ERRORS = re.compile(r'<p class="errornote">(.*?)</p>|<ul class="errorlist"[^>]*>(.*?)</ul>', re.S)
SAID = re.compile(r'<ul class="messagelist">.*?<li class="(\w+)">(.*?)</li>', re.S)
BOOKED = re.compile(r"/admin/bookings/booking/([0-9a-f-]{36})/change/")
NUMBER = re.compile(r"Only ([\d,]+)")
# By a sentence of the page that says why nothing was done.
REFUSALS = {
    "so nothing was done. Try again": "busy",
    "may have been done": "lost",
    "That many tickets are not free": "insufficient_tickets",
    "No ticket of this tier is free": "insufficient_tickets",
    "tickets are available": "insufficient_tickets",
    "tickets are kept back": "insufficient_tickets",
    "That many tickets are not kept back": "not_kept_back",
    "No ticket of this tier is kept back": "not_kept_back",
    "More tickets than that are sold": "capacity_below_sold",
    "This has changed since the page was drawn": "stale",
    "moved while your form was open": "stale",
    "published already": "published_before",
    "not published": "not_published",
    "Tickets of this concert were booked": "was_booked",
    "called off": "sales_closed",
    "This is a draft": "is_a_draft",
    "The concert is a draft": "not_found",
    "The sale broke off": "broke_off",
    "Only a confirmed booking": "not_confirmed",
    "The booking has changed since": "stale",
    "The new address has": "customer_limit_reached",
}
NOT_KNOWN = {"busy", "lost"}


@dataclass
class Page:
    """A form of a verb as it was drawn."""

    once: str
    seen: str
    drawn: float  # on the recorder's clock


@dataclass
class Desk:
    """One member of staff in a browser."""

    crowd: Crowd
    session: str = ""
    pages: dict[str, Page] = field(default_factory=dict)  # of moves, by concert

    def __post_init__(self) -> None:
        self.draw = random.Random(f"{self.crowd.seed} desk")
        self.days = 0
        self.handed: set[str] = set()  # bookings
        self.published: set[str] = set()  # of the drafts

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(
            self.crowd.url,
            connector=connector,
            timeout=clients.TIME_OUT,
            cookie_jar=aiohttp.DummyCookieJar(),  # two answers at once would mix their messages
        ) as self.http:
            while not self.crowd.is_over():
                if self.session or await self.log_in():
                    [wish] = self.draw.choices(list(WISHES), weights=list(WISHES.values()))
                    await self.act(wish)
                await asyncio.sleep(self.draw.uniform(0, THINKS))

    async def log_in(self) -> bool:
        typed = {"username": self.crowd.stage.staff, "password": PASSWORD}
        with self.crowd.recorder.attempt(DESK, "log_in", {}) as attempt:
            _, cookies = await self._ask(attempt, "POST", "/admin/login/", typed)
            if attempt.status == 302:
                attempt.outcome, self.session = OK, cookies.get("sessionid", "")
        return bool(self.session)

    # --- What they do -------------------------------------------------------------------------------------

    async def act(self, wish: str) -> None:
        tier, stage = self.draw.choice(self.crowd.stage.tiers), self.crowd.stage
        concert = tier.concert
        if wish in {"publish", "unpublish"} and stage.drafts:
            concert = self._draft(wish)
        request, typed = self._wish(wish, tier, concert)
        row = request.get("concert") or request.get("booking") or request.get("tier")
        if row is None:
            return
        page = await self._draw_page(wish, row)
        if page is not None:
            stale = self.pages.get(row) if self.draw.random() < STALE else None
            if wish == "move":
                before = stale or page
                page.seen, request["drawn"] = before.seen, before.drawn
                self.pages[row] = before
            await self.press(wish, row, page, request, typed)

    def _draft(self, wish: str) -> str:
        # Mostly one to which it can be done, as far as they know.
        drafts = self.crowd.stage.drafts
        fit = [each for each in drafts if (each in self.published) == (wish == "unpublish")]
        return self.draw.choice(fit if fit and self.draw.random() < 0.8 else drafts)

    def _wish(
        self, wish: str, tier: StagedTier, concert: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        if wish in {"publish", "unpublish"}:
            return {"concert": concert}, {}
        if wish == "move":
            self.days += 1
            day = FIRST_DAY + timedelta(self.days)
            typed = {"date_0": day.isoformat(), "date_1": "20:00", "time_zone": "UTC"}
            return {"concert": concert}, typed | {"venue": f"Hall {self.days}"}
        if wish == "hand_over":
            return self._handing()
        tickets = self.draw.randint(1, 4)
        if wish == "book_for":
            return self._booking(tier, min(tickets, 3))
        if wish == "add_tickets" and self.draw.random() < 0.5:
            tickets = -tickets
        return {"tier": tier.id, "tickets": tickets}, {"tickets": str(tickets)}

    def _handing(self) -> tuple[dict[str, Any], dict[str, str]]:
        # Each booking once. Nobody acts for the new address.
        left = [pk for pk, _ in self.crowd.booked[-60:] if pk not in self.handed]
        if not left:
            return {}, {}
        booking = self.draw.choice(left)
        self.handed.add(booking)
        email = f"heir-{len(self.handed)}-{self.crowd.stage.customers[0].email}"
        return {"booking": booking, "email": email}, {"email": email, "name": "Heir"}

    def _booking(self, tier: StagedTier, quantity: int) -> tuple[dict[str, Any], dict[str, str]]:
        email = customer = self.draw.choice(self.crowd.stage.customers).email
        if self.draw.random() < 0.4:
            email = f"friend-{self.draw.randrange(10**6)}-{email}"
            customer = GUEST + email
        kept = self.draw.random() < 0.5
        request = {"tier": tier.id, "quantity": quantity, "customer": customer}
        typed = {"quantity": str(quantity), "name": "Friend", "email": email, "source": "HOUSE"}
        typed |= {"paid": "none", "waives_limit": "on"}
        return request | {"from_kept_back": kept}, typed | (
            {"from_kept_back": "on"} if kept else {}
        )

    # --- Pages --------------------------------------------------------------------------------------------

    async def _draw_page(self, wish: str, row: str) -> Page | None:
        """The form; None if there is none, because the verb is refused or nobody answers."""
        drawn = self.crowd.recorder.now()
        with self.crowd.recorder.attempt(DESK, "page", {"verb": wish, "row": row}) as attempt:
            text, _ = await self._ask(attempt, "GET", _address(wish, row))
            attempt.code = _code_of(text) if attempt.outcome == REFUSED else ""
        once, seen = ONCE.search(text), SEEN.search(text)
        return Page(once[1], unescape(seen[1]) if seen else "", drawn) if once else None

    async def press(
        self, wish: str, row: str, page: Page, request: dict[str, Any], typed: Mapping[str, str]
    ) -> None:
        """Send the form until there is an answer, a few times; sometimes twice at once."""
        request |= {"press": page.once, "key": page.once}
        form = {"once": page.once, "seen": page.seen, "reason": f"press {page.once}", **typed}
        twice = self.draw.random() < 0.25
        for number in range(TRIES):
            times = 2 if twice and not number else 1
            sends = [self._send(wish, row, request, form) for _ in range(times)]
            attempts = await asyncio.gather(*sends)
            if any(each.outcome == OK for each in attempts) and wish in {"publish", "unpublish"}:
                self.published ^= {row}
            if any(each.outcome != UNKNOWN for each in attempts) or self.crowd.is_over():
                return
            if any(each.code == "sent_before" for each in attempts):
                return
            await asyncio.sleep(self.draw.uniform(0.1, 0.8))

    async def _send(
        self, wish: str, row: str, request: dict[str, Any], form: Mapping[str, str]
    ) -> Attempt:
        with self.crowd.recorder.attempt(DESK, wish, dict(request)) as attempt:
            text, cookies = await self._ask(attempt, "POST", _address(wish, row), form)
            if attempt.status == 302:
                await self._read_message(attempt, cookies)
            elif attempt.outcome == REFUSED:
                attempt.code = _code_of(text)
                left = NUMBER.search(text)
                attempt.answer = {"available": int(left[1].replace(",", "")) if left else 0}
                if attempt.code in NOT_KNOWN:
                    attempt.outcome = UNKNOWN
            elif attempt.outcome == OK:  # it is not known yet whether it is booked
                attempt.outcome, attempt.code = UNKNOWN, "not_known_yet"
        return attempt

    async def _read_message(self, attempt: Attempt, cookies: dict[str, str]) -> None:
        # It is on the next page, which is the row's.
        location = attempt.answer["location"]
        if "/login/" in location:
            self.session = ""
            return
        with self.crowd.recorder.attempt(DESK, "page", {"row": location}) as looked:
            text, _ = await self._ask(looked, "GET", location, cookies=cookies)
        said = SAID.search(text)
        if said is None:  # the next page did not come
            attempt.code = "see_other"
        elif said[1] == "warning":
            attempt.code = "sent_before"
        else:
            attempt.outcome, attempt.answer = OK, _told(attempt.verb, said[2])

    async def _ask(
        self,
        attempt: Attempt,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> tuple[str, dict[str, str]]:
        """The text of an answer and its cookies. The attempt is OK, refused, or unknown after a redirect."""
        data = None if form is None else {"csrfmiddlewaretoken": TOKEN} | dict(form)
        sent = {"csrftoken": TOKEN, "sessionid": self.session} | dict(cookies or {})
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in sent.items() if value)}
        try:
            async with self.http.request(
                method, path, data=data, headers=header, allow_redirects=False
            ) as response:
                text = await response.text()
                attempt.status = response.status
                attempt.retry_after = response.headers.get("Retry-After", "")
                if 300 <= response.status < 400:
                    attempt.answer = {"location": response.headers["Location"]}
                else:
                    attempt.outcome = clients.outcome_of(response.status)
                found = {name: each.coded_value for name, each in response.cookies.items()}
                return text, {name: found[name] for name in found if name in COOKIES}
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            attempt.outcome, attempt.error = UNKNOWN, f"{type(exc).__name__}: {exc}"
            return "", {}


COOKIES = {"messages", "sessionid"}


def _address(wish: str, row: str) -> str:
    return f"/admin/{PAGES[wish].format(row)}/"


def _code_of(text: str) -> str:
    errors = " ".join("".join(found) for found in ERRORS.findall(text))
    sentence = unescape(re.sub(r"<[^>]*>", " ", errors))
    codes = [code for words, code in REFUSALS.items() if words in sentence]
    return codes[0] if codes else f"unread: {' '.join(sentence.split())[:200]}"


def _told(verb: str, message: str) -> dict[str, Any]:
    if verb != "book_for":
        return {}
    booking = BOOKED.search(message)
    if booking is None:
        return {}
    is_cancelled = "was cancelled since" in re.sub(r"<[^>]*>", "", message)
    return {"bookingId": booking[1]} if is_cancelled else {"id": booking[1], "status": "CONFIRMED"}
