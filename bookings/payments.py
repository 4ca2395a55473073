"""Our calls to payment gateways. Each booking's calls go to the gateway that its row names.

A booking's id is the idempotency key of its charge. So however often we ask, the customer pays at most
once. All calls happen outside of transactions and locks.

`acharge` is for the event loop; `charge`, `look_up` and `refund` are for threads.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid5

from django.conf import settings
from django.db import transaction

from bookings.gateways import named
from bookings.gateways.base import GatewayUnavailable, Outcome, PaymentGateway
from bookings.gateways.simulated import SimulatedGateway
from bookings.models import Booking
from ticketbook import event_loop

# A site's own gateway and its settings may still name these by this module, where they used to be.
__all__ = ["GatewayUnavailable", "Outcome", "PaymentGateway", "SimulatedGateway"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def time_limit() -> float:
    # Seconds. A charge must be over, and settled, before its hold expires.
    return float(min(settings.PAYMENT_TIME_LIMIT_MS / 1000, 0.8 * settings.HOLD_SECONDS))


async def acharge(booking: Booking) -> Outcome:
    """Take the booking's money. Raises GatewayUnavailable."""
    if not booking.total_price:  # a free ticket needs no gateway
        return Outcome.SUCCEEDED
    outcome = await _call(_gateway(booking).charge, key=booking.pk, amount=booking.total_price)
    if outcome is Outcome.SUCCEEDED or outcome is Outcome.DECLINED:
        return Outcome(outcome)
    logger.error("The payment gateway answered a charge with %r", outcome)
    raise GatewayUnavailable


def charge(booking: Booking) -> Outcome:
    return _wait_for(acharge(booking))


def look_up(booking: Booking) -> Outcome:
    if not booking.total_price:
        return Outcome.SUCCEEDED
    outcome: Outcome = _wait_for(_call(_gateway(booking).look_up, key=booking.pk))
    return outcome


def refund(booking: Booking) -> None:
    if booking.total_price:
        key = uuid5(booking.pk, "refund")
        _wait_for(
            _call(
                _gateway(booking).refund,
                key=key,
                charge_key=booking.pk,
                amount=booking.total_price,
            )
        )


def _gateway(booking: Booking) -> Any:
    return named.gateway(booking.gateway)


async def close() -> None:
    """Let every gateway that this process has used close its connections."""
    for gateway in named.used():
        if end := getattr(gateway, "close", None):
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
