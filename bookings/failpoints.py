"""Places where a test may let this process die, fail or stand still: in the middle of a verb.

    FAILPOINTS=settle.written=kill@once,charge.answered=delay 2@0.1

| part | meaning |
|---|---|
| `settle.written` | one of PLACES |
| `kill`, `raise`, `delay 2` | end the process with SIGKILL; raise FailpointHit; wait so many seconds |
| `@0.1` | the chance of it, each time the place is passed; without it, always |
| `@once` | once, among all processes that share DATA_DIR/failpoints: the first to make the file there |
| `@0.1x20` | by that chance, and so many times at most among them; each makes a file there |

Without that setting nothing of this is in the process: functions are wrapped when it starts, or not at all.
"""

import asyncio
import logging
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger(__name__)


class FailpointHit(Exception):
    """What `raise` raises."""


@dataclass(frozen=True)
class Place:
    """Just before or after a function, which is named as module:name."""

    when: str  # "before" or "after"
    function: str


PLACES = {
    # A tier's lane, and what it does in one transaction.
    "lane.begins": Place("before", "bookings.booking_lanes:TierLane.serve"),
    "lane.locked": Place("after", "concerts.stock:lock_tier"),
    "lane.boarded": Place("after", "bookings.lanes:Batch.board"),
    "lane.written": Place("after", "bookings.tier_transaction:LockedTier.serve"),  # not committed
    "lane.committed": Place("after", "bookings.booking_lanes:TierLane.serve"),  # nobody knows yet
    # A booking.
    "hold.committed": Place("after", "bookings.steps:InLanes.hold"),
    "charge.begins": Place("before", "bookings.payments:acharge"),
    "charge.answered": Place("after", "bookings.payments:acharge"),
    "settle.begins": Place("before", "bookings.steps:InLanes.settle"),
    "settle.written": Place("after", "bookings.settling:send_settlements"),  # perhaps not committed
    "settle.committed": Place("after", "bookings.steps:InLanes.settle"),
    # Holds that nobody settled.
    "resolve.claimed": Place("after", "bookings.resolving:claim"),
    "resolve.settled": Place("after", "bookings.settling:settle"),
    # What gives tickets and money back.
    "return.written": Place("after", "bookings.cancelling:give_back"),  # not committed
    "refund.owed": Place("after", "bookings.refunding:owe"),  # not committed
    "refund.begins": Place("before", "bookings.payments:arefund"),
    "refund.sent": Place("after", "bookings.payments:arefund"),  # and not noted
    "call_off.written": Place("after", "bookings.calling_off:cancel_all"),  # not committed
    "call_off.committed": Place("after", "concerts.calling_off:call_off"),
    # Tickets of confirmed bookings, and the mails about them.
    "fulfil.claimed": Place("before", "tickets.fulfilment:make_and_tell"),  # bookings are locked
    "fulfil.written": Place("after", "tickets.fulfilment:make_and_tell"),  # not committed
    # A mail.
    "mail.claimed": Place("after", "mail.sending:claim"),
    "mail.accepted": Place("after", "mail.sending:deliver"),  # and not noted
}


@dataclass(frozen=True)
class Failpoint:
    """What happens at a place."""

    name: str
    action: str
    seconds: float
    chance: float
    most: int | None  # times, among all processes that share DATA_DIR/failpoints; None: no limit

    def is_hit(self) -> bool:
        if self.chance < 1 and random.random() >= self.chance:
            return False
        return self.most is None or self._is_one_of(self.most)

    def _is_one_of(self, most: int) -> bool:
        folder = Path(settings.DATA_DIR) / "failpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, most + 1):
            try:
                (folder / f"{self.name}.{self.action}.{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False

    def fail(self) -> None:
        """Do it, unless it is a delay."""
        logger.warning("Failpoint %s: %s", self.name, self.action)
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "raise":
            raise FailpointHit(self.name)


ENTRY = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|raise|delay (?P<seconds>[0-9.]{1,6}))"
    r"(@((?P<once>once)|(?P<chance>[01]?\.?[0-9]{1,6})(x(?P<most>[0-9]{1,4}))?))?"
)


def parse(text: str) -> list[Failpoint]:
    """The failpoints of the setting. Raises ImproperlyConfigured for what is none."""
    return [_parse_one(entry.strip()) for entry in text.split(",") if entry.strip()]


def _parse_one(entry: str) -> Failpoint:
    match = ENTRY.fullmatch(entry)
    if match is None or match["name"] not in PLACES:
        raise ImproperlyConfigured(
            f"FAILPOINTS has the entry {entry!r}. Write PLACE=kill, PLACE=raise or PLACE=delay SECONDS, with "
            f"@CHANCE, @CHANCExTIMES or @once behind it if you like. The places are {', '.join(PLACES)}."
        )
    most = "1" if match["once"] else match["most"]
    return Failpoint(
        match["name"],
        match["action"].split()[0],
        float(match["seconds"] or 0),
        float(match["chance"] or 1),
        int(most) if most else None,
    )


def install(text: str) -> None:
    """Wrap the functions at these places, wherever a module of ours has them by name."""
    failpoints = parse(text)
    if failpoints:
        logger.warning("This process fails on purpose: FAILPOINTS=%s", text)
    for failpoint in failpoints:
        place = PLACES[failpoint.name]
        module, _, path = place.function.partition(":")
        *owner_path, name = path.split(".")
        owner: Any = import_module(module)
        for part in owner_path:
            owner = getattr(owner, part)
        original = getattr(owner, name)
        wrapped = _wrapped(original, failpoint, before=place.when == "before")
        setattr(owner, name, wrapped)
        if not owner_path:
            _replace_everywhere(original, wrapped)


def _replace_everywhere(original: object, wrapped: object) -> None:
    # A module that has imported the function by its name still holds the original.
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in {"bookings", "concerts", "mail", "tickets"}:
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, wrapped)


def _wrapped(
    function: Callable[..., Any], failpoint: Failpoint, *, before: bool
) -> Callable[..., Any]:
    def pass_by() -> None:
        if failpoint.is_hit():
            failpoint.fail()
            time.sleep(failpoint.seconds)

    async def pass_by_on_the_loop() -> None:
        if failpoint.is_hit():
            failpoint.fail()
            await asyncio.sleep(failpoint.seconds)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if before:
            pass_by()
        result = function(*args, **kwargs)
        if not before:
            pass_by()
        return result

    @wraps(function)
    async def call_on_the_loop(*args: Any, **kwargs: Any) -> Any:
        if before:
            await pass_by_on_the_loop()
        result = await function(*args, **kwargs)
        if not before:
            await pass_by_on_the_loop()
        return result

    return call_on_the_loop if iscoroutinefunction(function) else call
