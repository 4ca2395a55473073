"""A gateway with a page of its own, inside this process: a ledger, its client, and the customers who pay.

The test decides what customers do (`ledger.pay`, `ledger.decline`), and whether the gateway answers (`mode`).
"""

import json
import threading
import uuid
from collections import Counter

from bookings.gateways.base import (
    ActionNeeded,
    BadEvent,
    Event,
    GatewayUnavailable,
    Outcome,
    RefundRefused,
)
from bookings.inbox import Arrived

NAME, PATH = "redirecting", "bookings.tests.redirecting.PageGateway"
HOLD_SECONDS = 900
SIGNATURE = {"x-signature": "good"}


class PageLedger:
    """What the gateway says happened."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.clear()

    def clear(self):
        self.mode = "approve"
        self.outcomes = {}  # by the key of the payment
        self.amounts = {}
        self.taken = {}  # money, by the key of the payment
        self.sent_back = {}  # (key of the payment, amount), by the key of the refund
        self.calls = Counter()

    # --- What customers do, and their banks ---

    def pay(self, key):
        """Pay at the page; returns whether the page took the money."""
        return self._close(key, Outcome.SUCCEEDED)

    def decline(self, key):
        return self._close(key, Outcome.DECLINED)

    def capture_late(self, key):
        """A slow bank takes the money of a payment that was cancelled."""
        with self.mutex:
            assert self.outcomes[key] is Outcome.CANCELLED
            self.outcomes[key] = Outcome.SUCCEEDED
            self.taken[key] = self.amounts[key]

    # --- What it is asked ---

    def begin(self, key, amount):
        with self.mutex:
            self.outcomes.setdefault(key, Outcome.OPEN)
            assert self.amounts.setdefault(key, amount) == amount, "a key stands for one amount"
            return self.outcomes[key]

    def cancel(self, key):
        with self.mutex:
            self.outcomes.setdefault(key, Outcome.OPEN)
        self._close(key, Outcome.CANCELLED)
        return self.outcomes[key]

    def refund(self, key, charge_key, amount):
        with self.mutex:
            if key in self.sent_back:
                assert self.sent_back[key] == (charge_key, amount), "a key stands for one refund"
                return
            if amount > self.kept().get(charge_key, 0):
                raise RefundRefused("More than what was paid.")
            self.sent_back[key] = (charge_key, amount)

    def kept(self):
        """The amounts that were taken and not given back, by the key of the payment; without zeros."""
        kept = Counter(self.taken)
        for charge_key, amount in self.sent_back.values():
            kept[charge_key] -= amount
        return {key: amount for key, amount in kept.items() if amount}

    def _close(self, key, outcome):
        with self.mutex:
            if self.outcomes[key] is not Outcome.OPEN:
                return False
            self.outcomes[key] = outcome
            if outcome is Outcome.SUCCEEDED:
                self.taken[key] = self.amounts[key]
            return True


LEDGER = PageLedger()


class PageGateway:
    hold_seconds = HOLD_SECONDS

    async def begin(self, *, key, amount, description, return_url, created_at, time_limit):
        outcome = self._ask("begin", LEDGER.begin, key, amount)
        if outcome is Outcome.OPEN:
            return ActionNeeded(f"https://pay.example/{key}", f"pay_{key}")
        return outcome

    async def look_up(self, *, key, reference, time_limit):
        return self._ask("look_up", LEDGER.outcomes.get, key, Outcome.NOT_FOUND)

    async def cancel(self, *, key, reference, time_limit):
        return self._ask("cancel", LEDGER.cancel, key)

    async def refund(self, *, key, charge_key, reference, amount, time_limit):
        self._ask("refund", LEDGER.refund, key, charge_key, amount)

    async def read_event(self, *, body, headers, time_limit):
        if headers.get("x-signature") != "good":
            raise BadEvent("forged")
        data = json.loads(body)
        key, claim = data.get("key"), data.get("claim")
        return Event(
            data["id"],
            data.get("type", "payment"),
            uuid.UUID(key) if key else None,
            Outcome(claim) if claim else None,
            data.get("alert", ""),
        )

    def _ask(self, verb, act, *args):
        LEDGER.calls[verb] += 1
        if LEDGER.mode in {"outage", "lose_request"}:
            raise GatewayUnavailable
        answer = act(*args)
        if LEDGER.mode == "lose_answer":
            raise GatewayUnavailable
        return answer


def told(key=None, claim="succeeded", **more):
    """The body of a webhook."""
    data = {"id": str(uuid.uuid4()), "key": key and str(key), "claim": claim} | more
    return json.dumps(data).encode()


def arrived(number, key=None, **changes):
    """An event for the inbox."""
    names = {"id": f"evt_{number}", "type": "payment", "key": key, "claim": Outcome.SUCCEEDED}
    return Arrived(NAME, Event(**names | changes))
