"""Our calls to payment gateways. Each booking's calls go to the gateway that its row names.

A booking's id is the idempotency key of its charge. So however often we ask, the customer pays at most
once. All calls happen outside of transactions and locks.

`acharge` and the other coroutines are for the event loop; `charge`, `look_up` and `refund` are for threads.
"""

import asyncio
import atexit
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cache
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from bookings import breakers
from bookings.gateways import named
from bookings.gateways.base import (
    FINAL,
    ActionNeeded,
    BadEvent,
    Event,
    GatewayUnavailable,
    Outcome,
    PaymentGateway,
    RefundRefused,
)
from bookings.gateways.simulated import SimulatedGateway
from bookings.models import Booking, Refund
from ticketbook import event_loop

# A site's own gateway and its settings may still name these by this module, where they used to be.
__all__ = ["GatewayUnavailable", "Outcome", "PaymentGateway", "SimulatedGateway"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# What a gateway may raise on purpose.
ANSWERS = (GatewayUnavailable, RefundRefused, BadEvent)


def time_limit() -> float:
    # Seconds. A charge must be over, and settled, before its hold expires.
    return float(min(settings.PAYMENT_TIME_LIMIT_MS / 1000, 0.8 * settings.HOLD_SECONDS))


async def acharge(booking: Booking) -> Outcome | ActionNeeded:
    """Take the booking's money, or say where the customer can pay. Raises GatewayUnavailable.

    An Outcome is SUCCEEDED or DECLINED, or CANCELLED for a payment that was closed before.
    """
    if not booking.total_price:  # a free ticket needs no gateway
        return Outcome.SUCCEEDED
    if named.redirects(booking.gateway):
        answer: Any = await _begin(booking)
    else:
        answer = await _call(booking, "charge", key=booking.pk, amount=booking.total_price)
    if isinstance(answer, ActionNeeded) and _is_usable(answer):
        return answer
    if isinstance(answer, Outcome) and answer in FINAL:
        return answer
    raise _unusable(booking, "charge", answer)


def _unusable(booking: Booking, verb: str, answer: object) -> GatewayUnavailable:
    logger.error("Payment gateway %s answered %s with %r", booking.gateway, verb, answer)
    breakers.of(booking.gateway).count(failed=True)
    return GatewayUnavailable()


def _is_usable(action: ActionNeeded) -> bool:
    # What can be stored, and sent to a browser as the header Location.
    url, reference = action.url, action.reference
    return (
        isinstance(url, str)
        and isinstance(reference, str)
        and url.startswith(("https://", "http://"))
        and url.isascii()
        and url.isprintable()
        and " " not in url
        and len(url) <= MAX_URL
        and len(reference) <= MAX_REFERENCE
        and reference.isprintable()
    )


MAX_URL, MAX_REFERENCE = 4000, 255  # characters


async def _begin(booking: Booking) -> Any:
    return await _call(
        booking,
        "begin",
        key=booking.pk,
        amount=booking.total_price,
        description=_description(booking),
        return_url=f"{settings.SITE_URL}/bookings/{booking.pk}/payment/",
        created_at=booking.created_at,
    )


def _description(booking: Booking) -> str:
    tier = booking.ticket_tier
    return f"{booking.quantity} × {tier.get_tier_type_display()}, {tier.concert.name}"


def charge(booking: Booking) -> Outcome | ActionNeeded:
    return _wait_for(acharge(booking))


async def alook_up(booking: Booking) -> Outcome:
    """What became of the booking's charge. Raises GatewayUnavailable."""
    if not booking.total_price:
        return Outcome.SUCCEEDED
    return await _ask_for_outcome(booking, "look_up")


def look_up(booking: Booking) -> Outcome:
    return _wait_for(alook_up(booking))


async def aclose_payment(booking: Booking) -> Outcome:
    """Close a payment that the customer has not made, so that it cannot be made any more.

    Returns what `look_up` says if that is final already, or if the gateway has nothing to close. Raises
    GatewayUnavailable.
    """
    outcome = await alook_up(booking)
    if outcome in FINAL or not named.redirects(booking.gateway):
        return outcome
    return await _ask_for_outcome(booking, "cancel")


def close_payment(booking: Booking) -> Outcome:
    return _wait_for(aclose_payment(booking))


async def _ask_for_outcome(booking: Booking, verb: str) -> Outcome:
    answer = await _call(booking, verb, key=booking.pk)
    if isinstance(answer, Outcome):
        return answer
    raise _unusable(booking, verb, answer)


def ask_about_all(
    ask: Callable[[Booking], Awaitable[Outcome]], bookings: Sequence[Booking]
) -> list[Outcome | None]:
    """`alook_up` or `aclose_payment` of many bookings at once; None where the gateway gave no answer."""

    async def ask_all() -> list[Outcome | BaseException]:
        return await asyncio.gather(*map(ask, bookings), return_exceptions=True)

    outcomes: list[Outcome | None] = []
    for booking, answer in zip(bookings, _wait_for(ask_all()), strict=True):
        outcomes.append(answer if isinstance(answer, Outcome) else None)
        if not isinstance(answer, Outcome | GatewayUnavailable):
            logger.error("Booking %s cannot be asked about", booking.pk, exc_info=answer)
    return outcomes


async def arefund(booking: Booking, refund: Refund) -> None:
    """Send money back. Raises GatewayUnavailable, and RefundRefused if it can never be sent."""
    await _call(
        booking,
        "refund",
        key=refund.pk,
        charge_key=booking.pk,
        amount=refund.amount,
    )


def refund(booking: Booking, refund: Refund) -> None:
    _wait_for(arefund(booking, refund))


def refund_all(refunds: Sequence[Refund]) -> list[BaseException | None]:
    """Send many refunds at once. Returns what each of them raised, and None for those that were sent."""

    async def send_all() -> list[BaseException | None]:
        sending = (arefund(refund.booking, refund) for refund in refunds)
        return await asyncio.gather(*sending, return_exceptions=True)

    return _wait_for(send_all())


async def read_event(gateway: str, body: bytes, headers: Mapping[str, str]) -> Event:
    """The event that a webhook of this gateway brings. Raises BadEvent and GatewayUnavailable."""
    event: Event = await _ask(
        named.gateway(gateway).read_event, body=body, headers=headers, time_limit=time_limit()
    )
    return event


def hold_length(gateway: str) -> timedelta:
    """How long a booking may wait for a customer who pays at the gateway's own page, or for the gateway."""
    seconds = getattr(named.gateway(gateway), "hold_seconds", settings.HOLD_SECONDS)
    return timedelta(seconds=seconds)


async def close() -> None:
    """Let every gateway that this process has used close its connections."""
    for gateway in named.used():
        if end := getattr(gateway, "close", None):
            await end()


CLOSE_LIMIT = 5.0  # seconds


@atexit.register
def _close_at_exit() -> None:
    # For the job worker and for commands. The web server has closed them by now, and its loop has ended.
    if event_loop.is_running():
        with suppress(Exception):
            event_loop.run(asyncio.wait_for(close(), CLOSE_LIMIT))


async def _call(booking: Booking, verb: str, **arguments: object) -> Any:
    try:
        method = getattr(named.gateway(booking.gateway), verb)
        if verb != "begin" and named.redirects(booking.gateway):
            arguments["reference"] = booking.gateway_reference
    except ImproperlyConfigured as exc:
        logger.error("Booking %s: %s", booking.pk, exc)
        raise GatewayUnavailable from exc
    with breakers.of(booking.gateway).watching():
        return await _ask(method, time_limit=time_limit(), **arguments)


async def _ask(method: Callable[..., Any], *, time_limit: float, **arguments: object) -> Any:
    """Call a gateway. Raises GatewayUnavailable for whatever goes wrong there.

    The call may have taken effect all the same.
    """
    call = _in_pool if not iscoroutinefunction(method) else _on_loop
    try:
        # A gateway should keep to the limit by itself. This is for one that does not.
        async with asyncio.timeout(time_limit + GRACE):
            return await call(method, time_limit=time_limit, **arguments)
    except ANSWERS:
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
