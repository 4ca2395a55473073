"""Tells the merchant by webhooks what became of payments, and does it as badly as the settings say."""

import asyncio
import json
import logging
import random
import time
from contextlib import suppress

import aiohttp
from django.conf import settings

from bookings.gateways import signatures
from bookings.gateways.hosted import webhook_secret
from demo.payment_page.ledger import Fate, Ledger, Webhook

logger = logging.getLogger(__name__)

AT_ONCE = 50  # webhooks in flight
ANSWER_LIMIT = 10.0  # seconds
LONGEST_PAUSE = 60.0  # seconds between two attempts
GIVE_UP = 24 * 3600.0  # seconds after the event
HELD = 2.0  # seconds that an event waits for the next one


def draw_fate() -> Fate:
    return Fate(
        delay=settings.HOSTED_WEBHOOK_DELAY_MS / 1000,
        lost=random.random() < settings.HOSTED_WEBHOOK_LOSS_RATE,
        doubled=random.random() < settings.HOSTED_WEBHOOK_DOUBLE_RATE,
        held=HELD if random.random() < settings.HOSTED_WEBHOOK_REORDER_RATE else 0,
    )


class Webhooks:
    """Sends the events that the ledger has pending. What is pending when we stop is sent after a restart."""

    def __init__(self, ledger: Ledger, url: str) -> None:
        self.ledger = ledger
        self.url = url
        self._in_flight: dict[int, asyncio.Task[None]] = {}  # by the event's number
        self._wake = asyncio.Event()
        self._failing = False

    async def run(self) -> None:
        """Send until cancelled."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=2 * AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT),
        ) as self._session:
            try:
                while True:
                    self._wake.clear()
                    pause = self._send_due(time.time())
                    with suppress(TimeoutError):
                        # Python 3.11's wait_for can swallow the cancel.
                        async with asyncio.timeout(pause):
                            await self._wake.wait()
            finally:
                for task in self._in_flight.values():
                    task.cancel()
                await asyncio.gather(*self._in_flight.values(), return_exceptions=True)

    def wake(self) -> None:
        # There may be a new event.
        self._wake.set()

    def _send_due(self, now: float) -> float | None:
        # Returns the seconds until the next event is due; None if it waits for a wake-up only.
        if len(self._in_flight) == AT_ONCE:
            return None  # each that ends wakes us
        for webhook in self.ledger.due_webhooks(now=now, most=AT_ONCE):
            if webhook.number not in self._in_flight and len(self._in_flight) < AT_ONCE:
                task = asyncio.create_task(self._send(webhook))
                self._in_flight[webhook.number] = task
        due = self.ledger.next_due(after=now)
        return None if due is None else max(0.0, due - now)

    async def _send(self, webhook: Webhook) -> None:
        try:
            copies = 2 if webhook.doubled else 1
            answers = await asyncio.gather(*(self._post(webhook) for _ in range(copies)))
            now = time.time()
            if any(answers):
                self.ledger.sent(webhook, now=now, again_at=None)
            elif now - webhook.created_at > GIVE_UP:
                self.ledger.give_up(webhook)
            else:
                pause = min(LONGEST_PAUSE, 2.0 ** min(webhook.attempts, 10))
                self.ledger.sent(webhook, now=now, again_at=now + pause)
        finally:
            del self._in_flight[webhook.number]
            self._wake.set()

    async def _post(self, webhook: Webhook) -> bool:
        body = json.dumps(
            {
                "id": webhook.id,
                "type": webhook.type,
                "key": webhook.payment,
                "createdAt": round(webhook.created_at, 3),
            }
        ).encode()
        # A fresh time at each attempt, because the merchant refuses old ones.
        signature = signatures.sign(webhook_secret(), body, int(time.time()))
        headers = {"Content-Type": "application/json", signatures.HEADER: signature}
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                await response.read()  # so that the connection can be used again
                return self._note(200 <= response.status < 300, f"status {response.status}")
        except (aiohttp.ClientError, TimeoutError) as exc:
            return self._note(False, str(exc) or type(exc).__name__)

    def _note(self, delivered: bool, answer: str) -> bool:
        # A line when webhooks begin to fail, not one for each.
        if not delivered and not self._failing:
            logger.warning("%s does not take webhooks (%s). They are sent again.", self.url, answer)
        self._failing = not delivered
        return delivered
