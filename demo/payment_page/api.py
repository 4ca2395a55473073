"""What the merchant asks of the payment page. Amounts are decimal strings."""

import hmac
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from bookings.gateways import hosted
from demo.payment_page.ledger import Conflict, Ledger, Refused
from demo.payment_page.webhooks import Webhooks
from ticketbook.currencies import DECIMALS, why_not

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MerchantApi:
    def __init__(self, ledger: Ledger, webhooks: Webhooks) -> None:
        self.ledger = ledger
        self.webhooks = webhooks
        self._authorization = f"Bearer {hosted.api_secret()}".encode()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/payments", self._guard(self.begin)),
            web.get("/payments/{key}", self._guard(self.look_up)),
            web.post("/payments/{key}/cancel", self._guard(self.cancel)),
            web.post("/payments/{key}/refunds", self._guard(self.refund)),
        ]

    async def begin(self, request: web.Request) -> web.Response:
        body = await _body(request)
        payment = self.ledger.begin(
            key=_key(body.get("key")),
            cents=_cents(body),
            currency=_currency(body),
            description=_text(body, "description", 1000),
            return_url=_url(body),
        )
        url = f"{hosted.address()}/pay/{payment.reference}"
        return _answer({"reference": payment.reference, "url": url, "state": payment.state})

    async def look_up(self, request: web.Request) -> web.Response:
        payment = self.ledger.find(_key(request.match_info["key"]))
        if payment is None:
            return _refusal(404, "There is no payment under this key.")
        return _answer({"state": payment.state})

    async def cancel(self, request: web.Request) -> web.Response:
        state = self.ledger.cancel(_key(request.match_info["key"]), now=time.time())
        self.webhooks.wake()
        return _answer({"state": state})

    async def refund(self, request: web.Request) -> web.Response:
        body = await _body(request)
        payment = _key(request.match_info["key"])
        self.ledger.refund(key=_key(body.get("key")), payment=payment, cents=_cents(body))
        return _answer({})

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            if not hmac.compare_digest(given, self._authorization):
                return _refusal(401, "Only the merchant may ask this.")
            try:
                return await handler(request)
            except _Malformed as exc:
                return _refusal(400, str(exc))
            except Conflict as exc:
                return _refusal(409, str(exc))
            except Refused as exc:
                return _refusal(422, str(exc))

        return guarded


class _Malformed(Exception):
    pass


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        return body
    raise _Malformed("The body is not a JSON object.")


def _key(value: object) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise _Malformed("key must be a UUID.") from None


def _cents(body: dict[str, Any]) -> int:
    parts = re.fullmatch(r"([0-9]{1,10})(?:\.([0-9]{2}))?", _text(body, "amount", 13))
    if parts and (cents := int(parts[1] + (parts[2] or "00"))):
        return cents
    raise _Malformed("amount must be a positive number with two decimals or none, as text.")


def _currency(body: dict[str, Any]) -> str:
    currency = _text(body, "currency", 3)
    if why_not(currency):
        raise _Malformed("currency must be the ISO 4217 code of a currency, as USD.")
    if DECIMALS[currency] == 0 and _cents(body) % 100:
        raise _Malformed(f"amount must be whole, because {currency} has no decimals.")
    return currency


def _url(body: dict[str, Any]) -> str:
    url = _text(body, "returnUrl", 2000)
    # It becomes a link and a header.
    if url.startswith(("http://", "https://")) and url.isascii():
        return url
    raise _Malformed("returnUrl must be the address of a page.")


def _text(body: dict[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
        return value
    raise _Malformed(f"{name} must be a text of 1 to {longest} characters.")


def _answer(data: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def _refusal(status: int, detail: str) -> web.Response:
    return _answer({"detail": detail}, status)
