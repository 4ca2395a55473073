"""Payments on a page of Stripe's, by a Checkout Session for each booking (docs/payments.md).

An optional extra. No other module imports the library `stripe`, and this one is imported only if
PAYMENT_GATEWAYS names it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import aiohttp
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bookings.gateways.base import (
    ActionNeeded,
    BadEvent,
    Event,
    GatewayUnavailable,
    Outcome,
    RefundRefused,
)
from bookings.gateways.stripe_amounts import to_units
from bookings.gateways.stripe_events import alert, booking_of, claim, metadata, refund_failed

try:
    import stripe
    from stripe.params.checkout import SessionCreateParams
except ImportError as exc:
    raise ImproperlyConfigured(
        "The payment gateway Stripe needs a library that is not installed. "
        "Install it: pip install -r requirements-stripe.txt."
    ) from exc

logger = logging.getLogger(__name__)

stripe.enable_telemetry = False  # it would tell Stripe about this machine, and keep a file on it

# A session is made to expire at least this long after it is made; Stripe refuses anything shorter.
SHORTEST_SESSION = 30 * 60  # seconds
# How far the clocks of our database and of Stripe may differ.
CLOCKS_DIFFER = 120  # seconds

# Refusals of a refund that may be gone at the next try.
PASSING = {"balance_insufficient", "insufficient_funds", "lock_timeout", "resource_missing"}


class StripeGateway:
    def __init__(self) -> None:
        self.check()
        self.hold_seconds = float(settings.STRIPE_HOLD_SECONDS)
        self._connect()

    @staticmethod
    def check() -> None:
        """Raises ImproperlyConfigured if a setting does not fit; named.check() calls it at the start."""
        for name, prefixes in (
            ("STRIPE_SECRET_KEY", ("sk_", "rk_")),
            ("STRIPE_WEBHOOK_SECRET", ("whsec_",)),
        ):
            if not getattr(settings, name).startswith(prefixes):
                raise ImproperlyConfigured(
                    f"{name} is not set to a value that begins with {' or '.join(prefixes)}. The payment "
                    "gateway Stripe needs it; docs/payments.md says where to find it."
                )

    @staticmethod
    def page_origins() -> list[str]:
        return ["https://checkout.stripe.com"]

    def _connect(self) -> None:
        self._http = stripe.AIOHTTPClient()
        self._client = stripe.StripeClient(
            settings.STRIPE_SECRET_KEY,
            http_client=self._http,
            base_addresses={"api": settings.STRIPE_API_BASE},
            max_network_retries=0,  # our callers try again, within their own time limits
        )
        self._sessions = self._client.v1.checkout.sessions

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]
        self._connect()

    async def begin(
        self,
        *,
        key: UUID,
        amount: Decimal,
        description: str,
        return_url: str,
        created_at: datetime,
        time_limit: float,
    ) -> ActionNeeded | Outcome:
        try:
            units = to_units(amount, settings.CURRENCY)
        except ValueError as exc:
            logger.error("Booking %s cannot be paid: %s", key, exc)
            return Outcome.DECLINED
        # From hold_seconds on this is too near, so Stripe makes no session for a late call.
        expires_at = int(created_at.timestamp() + self.hold_seconds) + SHORTEST_SESSION
        parameters = _payment(key, units, description, return_url, expires_at)
        async with _answers_within(time_limit):
            try:
                session = await self._create(key, parameters)
            except stripe.InvalidRequestError as exc:
                if exc.code not in {"amount_too_small", "amount_too_large"}:
                    raise
                logger.error("Booking %s cannot be paid: %s", key, exc.user_message)
                return Outcome.DECLINED
            outcome = await self._outcome(session)
            if outcome is not Outcome.OPEN:
                return outcome
            # A session has no page any more while a payment is on its way.
            return ActionNeeded(session.url or return_url, session.id)

    async def look_up(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        async with _answers_within(time_limit):
            session = await self._session(key, reference)
            return await self._outcome(session) if session else Outcome.NOT_FOUND

    async def cancel(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        async with _answers_within(time_limit):
            session_id = reference or await self._found_or_barred(key)
            try:
                session = await self._sessions.expire_async(session_id)
            except stripe.InvalidRequestError:  # it is not open any more
                session = await self._sessions.retrieve_async(session_id)
            outcome = await self._outcome(session)
            if outcome is Outcome.OPEN:
                raise GatewayUnavailable
            return outcome

    async def refund(
        self, *, key: UUID, charge_key: UUID, reference: str, amount: Decimal, time_limit: float
    ) -> None:
        try:
            units = to_units(amount, settings.CURRENCY)
        except ValueError as exc:
            raise RefundRefused(str(exc)) from exc
        async with _answers_within(time_limit):
            session = await self._session(charge_key, reference)
            if session is None or session.payment_intent is None:
                raise RefundRefused("Stripe has no payment of this booking.")
            intent = _id(session.payment_intent)
            refund = await self._refund_sent_before(key, intent)
            if refund is None:
                refund = await self._send_refund(key, charge_key, intent, units)
            if refund.status in {"failed", "canceled"}:
                raise RefundRefused(refund_failed(refund))

    async def read_event(
        self, *, body: bytes, headers: Mapping[str, str], time_limit: float
    ) -> Event:
        try:
            event = self._client.construct_event(
                body, headers.get("stripe-signature"), settings.STRIPE_WEBHOOK_SECRET
            )
        except (ValueError, stripe.SignatureVerificationError) as exc:
            raise BadEvent(str(exc)) from exc
        about: Any = event.data.object
        key = booking_of(about)
        if event.type.startswith("charge.dispute."):
            async with _answers_within(time_limit):
                key = await self._disputed_booking(about)
        if key is None:
            return Event(event.id, event.type)
        return Event(event.id, event.type, key, claim(event.type, about), alert(event.type, about))

    async def _create(self, key: UUID, parameters: SessionCreateParams) -> stripe.checkout.Session:
        """The session of a key: a new one, or the one that has taken the key before."""
        try:
            session = await self._sessions.create_async(parameters, {"idempotency_key": str(key)})
        except stripe.IdempotencyError as exc:
            # The key has been used with other parameters: by `cancel`, or before a setting or the name
            # of the concert was changed.
            found = await self._find(key)
            if found is None:
                raise GatewayUnavailable from exc
            return found
        if _replayed(session):  # this is the session as it was when it was made
            session = await self._sessions.retrieve_async(session.id)
        return session

    async def _found_or_barred(self, key: UUID) -> str:
        """The id of the session of this key. If there is none, nobody can make one afterwards.

        Then a session that takes no money uses up the key. Stripe refuses a `begin` that is still on its
        way, because its parameters differ.
        """
        session = await self._find(key)
        if session is None:
            session = await self._create(key, _no_payment(key))
        return session.id

    async def _session(self, key: UUID, reference: str) -> stripe.checkout.Session | None:
        if reference:
            return await self._sessions.retrieve_async(reference)
        return await self._find(key)

    async def _find(self, key: UUID) -> stripe.checkout.Session | None:
        """The session of a key, from the list of all sessions that Stripe made about then.

        A list shows a session as soon as it is made, which Stripe's search does not
        (https://docs.stripe.com/search#data-freshness). Nearly all are made when the booking is, so those
        come first.
        """
        made = _made_at(key)
        soon, end = made + CLOCKS_DIFFER, made + int(self.hold_seconds) + CLOCKS_DIFFER
        for first, last in ((made - CLOCKS_DIFFER, soon), (soon + 1, end)):
            page = await self._sessions.list_async(
                {"created": {"gte": first, "lte": last}, "limit": 100}
            )
            async for session in page.auto_paging_iter():
                if session.client_reference_id == str(key):
                    return session
        return None

    async def _outcome(self, session: stripe.checkout.Session) -> Outcome:
        if session.mode == "setup":  # made by `cancel`
            return Outcome.CANCELLED
        if session.payment_status == "paid":
            return Outcome.SUCCEEDED
        if session.status == "expired":
            return Outcome.CANCELLED
        if session.status == "complete" and await self._failed_later(session):
            return Outcome.DECLINED
        return Outcome.OPEN

    async def _failed_later(self, session: stripe.checkout.Session) -> bool:
        # Only a method that is settled days later completes a session without paying it.
        if session.payment_intent is None:
            return False
        intent = await self._client.v1.payment_intents.retrieve_async(_id(session.payment_intent))
        return intent.status in {"requires_payment_method", "canceled"}

    async def _refund_sent_before(self, key: UUID, intent: str) -> stripe.Refund | None:
        # Stripe forgets an idempotency key after a day, and a refund may be tried for longer.
        page = await self._client.v1.refunds.list_async({"payment_intent": intent, "limit": 100})
        async for refund in page.auto_paging_iter():
            if metadata(refund, "refund") == str(key):
                return refund
        return None

    async def _send_refund(
        self, key: UUID, charge_key: UUID, intent: str, units: int
    ) -> stripe.Refund:
        try:
            return await self._client.v1.refunds.create_async(
                {
                    "payment_intent": intent,
                    "amount": units,
                    "metadata": {"booking": str(charge_key), "refund": str(key)},
                },
                {"idempotency_key": str(key)},
            )
        except (stripe.InvalidRequestError, stripe.CardError) as exc:
            if exc.code in PASSING:
                raise
            raise RefundRefused(exc.user_message) from exc

    async def _disputed_booking(self, dispute: stripe.Dispute) -> UUID | None:
        if dispute.payment_intent is None:
            return None
        intent = await self._client.v1.payment_intents.retrieve_async(_id(dispute.payment_intent))
        return booking_of(intent)


def _payment(
    key: UUID, units: int, description: str, return_url: str, expires_at: int
) -> SessionCreateParams:
    # They must be the same in every call for a key, so nothing here may depend on the present time.
    return {
        "mode": "payment",
        "client_reference_id": str(key),
        "metadata": {"booking": str(key)},
        "payment_intent_data": {"description": description, "metadata": {"booking": str(key)}},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": settings.CURRENCY.lower(),
                    "unit_amount": units,
                    "product_data": {"name": description},
                },
            }
        ],
        "allowed_payment_method_types": ["card"],  # which are settled at once
        "adaptive_pricing": {"enabled": False},  # or a refund would be in the customer's currency
        "success_url": return_url,
        "cancel_url": return_url,
        "expires_at": expires_at,
    }


def _no_payment(key: UUID) -> SessionCreateParams:
    return {
        "mode": "setup",
        "client_reference_id": str(key),
        "metadata": {"booking": str(key)},
        "currency": settings.CURRENCY.lower(),
        "success_url": settings.SITE_URL,
    }


@asynccontextmanager
async def _answers_within(time_limit: float) -> AsyncIterator[None]:
    """Raises GatewayUnavailable if Stripe does not answer in time, or refuses the call."""
    try:
        async with asyncio.timeout(time_limit):
            yield
    except (
        stripe.APIConnectionError,
        stripe.APIError,
        stripe.RateLimitError,
        aiohttp.ClientError,  # the library lets it through while it reads an answer
        TimeoutError,
    ) as exc:
        raise GatewayUnavailable from exc
    except stripe.StripeError as exc:  # a wrong key, or a call that Stripe does not understand
        logger.error("Stripe refused a call: %s", exc)
        raise GatewayUnavailable from exc


def _made_at(key: UUID) -> int:
    # A booking's id is a UUIDv7, which begins with the time in milliseconds.
    if key.version != 7:
        raise ValueError(f"{key} is no UUIDv7, so it does not tell when its booking was made.")
    return (key.int >> 80) // 1000


def _replayed(session: stripe.checkout.Session) -> bool:
    response = session.last_response
    return response is not None and response.headers.get("Idempotent-Replayed") == "true"


def _id(thing: Any) -> str:
    # Of an object that Stripe gives by its id, or as a whole.
    return str(thing if isinstance(thing, str) else thing.id)
