"""A gateway with a payment page of its own, to which customers are sent. No money moves.

Its other half, the process that shows the page, is `demo/payment_page/`.
"""

import json
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import aiohttp
from django.conf import settings
from django.utils.crypto import salted_hmac

from bookings.gateways import signatures
from bookings.gateways.base import (
    ActionNeeded,
    BadEvent,
    Event,
    GatewayUnavailable,
    Outcome,
    RefundRefused,
)

logger = logging.getLogger(__name__)

OUTCOMES = {
    "open": Outcome.OPEN,
    "paid": Outcome.SUCCEEDED,
    "declined": Outcome.DECLINED,
    "cancelled": Outcome.CANCELLED,
}
CLAIMS = {
    "payment.succeeded": Outcome.SUCCEEDED,
    "payment.declined": Outcome.DECLINED,
    "payment.cancelled": Outcome.CANCELLED,
}
CONNECTIONS = 100


def address() -> str:
    """Where the payment page is, for customers and for us."""
    host = settings.BIND_ADDRESS
    return f"http://{'127.0.0.1' if host in {'', '0.0.0.0'} else host}:{settings.HOSTED_PORT}"


# Both halves derive these from SECRET_KEY, so nobody has to set them.
def api_secret() -> str:
    return salted_hmac("bookings.gateways.hosted.api", "", algorithm="sha256").hexdigest()


def webhook_secret() -> str:
    return salted_hmac("bookings.gateways.hosted.webhook", "", algorithm="sha256").hexdigest()


class HostedGateway:
    def __init__(self) -> None:
        # Made by the first call, on the event loop to which it then belongs.
        self._session: aiohttp.ClientSession | None = None

    @staticmethod
    def page_origins() -> list[str]:
        return [address()]

    @property
    def hold_seconds(self) -> float:
        return float(settings.HOSTED_HOLD_SECONDS)

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
        payment = {
            "key": str(key),
            "amount": f"{amount:f}",
            "currency": settings.CURRENCY,
            "description": description,
            "returnUrl": return_url,
        }
        answer = await self._call("POST", "/payments", time_limit, payment)
        if (outcome := _outcome(answer)) is not Outcome.OPEN:
            return outcome
        return ActionNeeded(url=_text(answer, "url"), reference=_text(answer, "reference"))

    async def look_up(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        try:
            return _outcome(await self._call("GET", f"/payments/{key}", time_limit))
        except _NotFound:
            return Outcome.NOT_FOUND

    async def cancel(self, *, key: UUID, reference: str, time_limit: float) -> Outcome:
        return _outcome(await self._call("POST", f"/payments/{key}/cancel", time_limit))

    async def refund(
        self, *, key: UUID, charge_key: UUID, reference: str, amount: Decimal, time_limit: float
    ) -> None:
        refund = {"key": str(key), "amount": f"{amount:f}"}
        await self._call("POST", f"/payments/{charge_key}/refunds", time_limit, refund)

    async def read_event(
        self, *, body: bytes, headers: Mapping[str, str], time_limit: float
    ) -> Event:
        header = headers.get(signatures.HEADER.lower())
        signatures.verify(webhook_secret(), header, body, time.time())
        return _event(body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self, method: str, path: str, time_limit: float, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        # Raises GatewayUnavailable, _NotFound, or RefundRefused for a 422.
        try:
            async with self._open_session().request(
                method,
                f"{address()}{path}",
                json=body,
                headers={"Authorization": f"Bearer {api_secret()}"},
                timeout=aiohttp.ClientTimeout(total=time_limit),
                allow_redirects=False,
            ) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise GatewayUnavailable from exc
        if not isinstance(answer, dict):
            raise GatewayUnavailable
        if status == 200:
            return answer
        if status == 404:
            raise _NotFound
        if status == 422:
            raise RefundRefused(str(answer.get("detail", "")))
        if status < 500:
            logger.error("The payment page answered %s to %s: %s", status, path, answer)
        raise GatewayUnavailable

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _NotFound(GatewayUnavailable):
    # Only a look-up knows what to do about it. For any other call the page is not what we expect.
    pass


def _outcome(answer: dict[str, Any]) -> Outcome:
    try:
        return OUTCOMES[_text(answer, "state")]
    except KeyError:
        raise GatewayUnavailable from None


def _text(answer: dict[str, Any], name: str) -> str:
    if isinstance(value := answer.get(name), str) and value:
        return value
    raise GatewayUnavailable


def _event(body: bytes) -> Event:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BadEvent("The body is not JSON.") from exc
    if not isinstance(data, dict):
        raise BadEvent("The body is not an object.")
    kind = _word(data, "type", 100)
    claim = CLAIMS.get(kind)
    key = _key(data)
    if claim and not key:
        raise BadEvent("The event does not say which payment it is about.")
    return Event(id=_word(data, "id", 255), type=kind, key=key, claim=claim)


def _word(data: dict[str, Any], name: str, longest: int) -> str:
    # The database takes neither NUL nor half a surrogate pair.
    value = data.get(name)
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
        return value
    raise BadEvent(f"{name} is not a text of 1 to {longest} characters.")


def _key(data: dict[str, Any]) -> UUID | None:
    if "key" not in data:
        return None
    try:
        key = UUID(data["key"])
    except (ValueError, TypeError, AttributeError) as exc:
        raise BadEvent("key is not a UUID.") from exc
    if str(key) != data["key"].lower():  # UUID() also takes braces and urn:uuid:
        raise BadEvent("key is not a UUID.")
    return key
