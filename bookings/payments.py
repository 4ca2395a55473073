"""The payment gateway: its interface, the simulated one, and our calls to it.

A booking's id is the idempotency key of its charge. So however often we ask, the customer pays at most
once. All calls happen outside of transactions and locks.

`acharge` is for the event loop; `charge`, `look_up` and `refund` are for threads.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from enum import Enum
from functools import cache
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from bookings.models import Booking
from ticketbook import event_loop

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Outcome(Enum):
    SUCCEEDED = "succeeded"  # the money is ours
    DECLINED = "declined"  # no money moved, and none will under this key
    NOT_FOUND = "not_found"  # from a look-up only: no charge under this key has taken effect so far


class GatewayUnavailable(Exception):
    """The payment gateway did not answer in time. We do not know what it did."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class PaymentGateway(Protocol):
    """What a gateway has to do. Amounts are in CURRENCY, `time_limit` is in seconds.

    Each call may raise GatewayUnavailable; it may or may not have taken effect then. A key that got an
    answer once gets the same answer for ever.

    All calls run on the event loop of the process, so that a slow gateway holds no thread. A session with
    its connections belongs to that loop. A gateway of plain functions works too: they run on
    PAYMENT_THREADS threads.
    """

    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        """Take the money, once for each key. Returns SUCCEEDED or DECLINED."""

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        """What became of the charge under this key. It changes nothing."""

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        """Send the money of a charge back, once for each key. It is done when this returns."""


class SimulatedGateway:
    """Decides by a hash of the key, so it stores nothing and gives the same answer in every process.

    The settings PAYMENT_… steer it (README). Of the charges that time out, a share has taken effect all
    the same, and a look-up shows it. The others never reached the gateway.
    """

    async def charge(self, *, key: UUID, amount: Decimal, time_limit: float) -> Outcome:
        await self._answer_within(time_limit, key)
        if self._times_out(key):
            raise GatewayUnavailable
        return self._decision(key)

    async def look_up(self, *, key: UUID, time_limit: float) -> Outcome:
        await self._answer_within(time_limit, key)
        lost = self._times_out(key) and not self._chance(
            "effect", key, settings.PAYMENT_TIMEOUT_EFFECT_RATE
        )
        return Outcome.NOT_FOUND if lost else self._decision(key)

    async def refund(
        self, *, key: UUID, charge_key: UUID, amount: Decimal, time_limit: float
    ) -> None:
        await self._answer_within(time_limit, key)

    async def _answer_within(self, time_limit: float, key: UUID) -> None:
        latency = settings.PAYMENT_LATENCY_MS / 1000
        if spread := settings.PAYMENT_LATENCY_SPREAD_MS / 1000:
            latency = max(0.0, latency + spread * (2 * self._share("latency", key) - 1))
        if latency:
            await asyncio.sleep(min(latency, time_limit))
        if settings.PAYMENT_OUTAGE or latency > time_limit:
            raise GatewayUnavailable

    def _times_out(self, key: UUID) -> bool:
        return self._chance("timeout", key, settings.PAYMENT_TIMEOUT_RATE)

    def _decision(self, key: UUID) -> Outcome:
        paid = self._chance("success", key, settings.PAYMENT_SUCCESS_RATE)
        return Outcome.SUCCEEDED if paid else Outcome.DECLINED

    def _chance(self, question: str, key: UUID, rate: float) -> bool:
        return rate > 0 and (rate >= 1 or self._share(question, key) < rate)

    def _share(self, question: str, key: UUID) -> float:
        # A number in [0, 1) that depends on the key only.
        digest = hashlib.sha256(f"{question}:{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64


@cache
def _gateway(path: str) -> Any:
    return import_string(path)()


def gateway() -> Any:
    """The gateway that PAYMENT_GATEWAY names: one object for the process, so it may keep connections."""
    return _gateway(settings.PAYMENT_GATEWAY)


def time_limit() -> float:
    # Seconds. A charge must be over, and settled, before its hold expires.
    return float(min(settings.PAYMENT_TIME_LIMIT_MS / 1000, 0.8 * settings.HOLD_SECONDS))


async def acharge(booking: Booking) -> Outcome:
    """Take the booking's money. Raises GatewayUnavailable."""
    if not booking.total_price:  # a free ticket needs no gateway
        return Outcome.SUCCEEDED
    outcome = await _call(gateway().charge, key=booking.pk, amount=booking.total_price)
    if outcome is Outcome.SUCCEEDED or outcome is Outcome.DECLINED:
        return Outcome(outcome)
    logger.error("The payment gateway answered a charge with %r", outcome)
    raise GatewayUnavailable


def charge(booking: Booking) -> Outcome:
    return _wait_for(acharge(booking))


def look_up(booking: Booking) -> Outcome:
    if not booking.total_price:
        return Outcome.SUCCEEDED
    outcome: Outcome = _wait_for(_call(gateway().look_up, key=booking.pk))
    return outcome


def refund(booking: Booking) -> None:
    if booking.total_price:
        key = uuid5(booking.pk, "refund")
        _wait_for(
            _call(gateway().refund, key=key, charge_key=booking.pk, amount=booking.total_price)
        )


async def close() -> None:
    if end := getattr(gateway(), "close", None):
        await end()


async def _call(method: Callable[..., Any], **arguments: object) -> Any:
    """Call the gateway. Raises GatewayUnavailable for whatever goes wrong there.

    The call may have taken effect all the same.
    """
    limit = time_limit()
    call = _in_pool if not iscoroutinefunction(method) else _on_loop
    try:
        # A gateway should keep to the limit by itself. This is for one that does not.
        async with asyncio.timeout(limit + GRACE):
            return await call(method, time_limit=limit, **arguments)
    except GatewayUnavailable:
        raise
    except BaseException as exc:  # whatever a gateway raises must not end our server
        task = asyncio.current_task()
        if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # our own task was cancelled
        if not isinstance(exc, TimeoutError):
            logger.exception("The payment gateway failed")
        raise GatewayUnavailable from exc


GRACE = 0.5  # seconds


def _on_loop(method: Callable[..., Awaitable[Any]], **arguments: Any) -> Awaitable[Any]:
    return method(**arguments)


async def _in_pool(method: Callable[..., Any], *, time_limit: float, **arguments: Any) -> Any:
    # The wait for a thread counts towards the limit. A call that waited too long is not sent.
    deadline = monotonic() + time_limit

    def send() -> Any:
        left = deadline - monotonic()
        if left <= 0:
            raise GatewayUnavailable
        try:
            return method(time_limit=left, **arguments)
        except (SystemExit, KeyboardInterrupt) as exc:
            # The executor would raise these in the event loop.
            raise GatewayUnavailable from exc

    return await asyncio.get_running_loop().run_in_executor(_pool(), send)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.PAYMENT_THREADS, thread_name_prefix="payment")


def _wait_for(call: Coroutine[Any, Any, Result]) -> Result:
    """Run the call on the event loop and wait for it. Raises RuntimeError inside a transaction."""
    try:
        if transaction.get_connection().in_atomic_block:
            # A slow gateway must never hold a lock. `durable` raises inside a transaction of ours, but
            # not inside the one that pytest-django wraps around a whole test.
            with transaction.atomic(durable=True):
                pass
        return event_loop.run(call)
    finally:
        call.close()
