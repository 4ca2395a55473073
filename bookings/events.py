"""Webhooks: what a payment gateway tells us by itself.

    POST /payments/{gateway}/events ─▶ signature and age ─▶ inbox ─▶ ask the gateway ─▶ settle ─▶ 200

An event never settles anything by what it says. It is the occasion to ask the gateway about the booking.
So a forged or repeated event does no harm, and the look-up rules where the two disagree. The answer is 200
only after the commit; after any other answer the gateway sends the event again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bookings import inbox, payments
from bookings.booking_lanes import EVENTS
from bookings.gateways import named
from bookings.gateways.base import BadEvent, Event, GatewayUnavailable, Outcome
from bookings.inbox import Arrived, Handled
from bookings.outcomes import ask_and_settle
from bookings.steps import InLanes
from ticketbook import event_loop
from ticketbook.errors import Busy, NotFound, Refusal, TooLarge
from ticketbook.postgres import clock

logger = logging.getLogger(__name__)

MAX_EVENT = 256 * 1024  # bytes
STEPS = InLanes()


class NotOurEvent(Refusal):
    """This is not an event of this gateway, or it is too old. Sign it anew and send it again."""

    code = "bad_event"


class GatewaySilent(Busy):
    """The payment gateway did not answer our question about this event. Send it again."""


def gateways_with_events() -> list[str]:
    return [name for name in named.paths() if named.redirects(name)]


async def receive(gateway: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Handle a webhook. When this returns, what came of it has been committed.

    Raises NotFound for a gateway that sends no events, TooLarge, NotOurEvent, GatewaySilent and Busy.
    """
    if gateway not in gateways_with_events():
        raise NotFound
    if not body:
        raise NotOurEvent
    if len(body) > MAX_EVENT:
        raise TooLarge
    if not body:  # this asks no gateway, because each process asks so at its start (front/site.py)
        raise NotOurEvent
    try:
        event = await payments.read_event(gateway, body, headers)
        await _handle(gateway, event)
    except BadEvent as exc:
        logger.warning("A webhook of %s was refused: %s", gateway, exc)
        raise NotOurEvent from exc
    except GatewayUnavailable as exc:
        raise GatewaySilent from exc


async def _handle(gateway: str, event: Event) -> None:
    noted = await EVENTS.ask(Arrived(gateway, event))
    assert noted is not None
    if noted.handled:
        return
    now, found = clock.now(), None
    if noted.booking is not None and event.claim is not None:
        found = await ask_and_settle(noted.booking, STEPS, now=now)
    alert = event.alert or _disagreement(event, found)
    if alert:
        logger.error("Booking %s, event %s of %s: %s", event.key, event.id, gateway, alert)
    await EVENTS.ask(Handled(gateway, event.id, found, alert, now))


def _disagreement(event: Event, found: Outcome | None) -> str:
    if found is None or found is event.claim or event.claim is None:
        return ""
    if event.claim is not Outcome.SUCCEEDED and found is Outcome.OPEN:
        return ""  # one attempt failed, and the customer may try again
    return f"The event says {event.claim.value}, but the gateway says {found.value}. We followed the gateway."


def handle_left_over(*, now: datetime) -> None:
    """Handle events again whose handling broke off more than a minute ago. One that fails stops no other."""
    found = inbox.left_over(now - timedelta(minutes=1), gateways=gateways_with_events())
    for (gateway, event), error in zip(found, event_loop.run(_handle_all(found)), strict=True):
        if isinstance(error, Exception) and not isinstance(error, GatewayUnavailable | Busy):
            logger.error(
                "Event %s of %s failed; it is tried again", event.id, gateway, exc_info=error
            )


async def _handle_all(found: Sequence[tuple[str, Event]]) -> list[BaseException | None]:
    # All at once, so that a slow gateway delays a hundred events no longer than one.
    handlings = (_handle(gateway, event) for gateway, event in found)
    return await asyncio.gather(*handlings, return_exceptions=True)
