"""POST /api/v1/bookings on the event loop, without a thread.

It answers what is plainly a valid booking request, and refuses one whose token is missing or dead. For
anything else it returns None before it has changed anything, and Django answers (bookings/api.py). So bad
input is explained in one place only.
"""

import logging
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from knox.crypto import hash_token
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated

from accounts.auth import INACTIVE, INVALID, KnownCustomer
from bookings.answers import BOOKINGS, answer_of
from bookings.booking_lanes import TOKENS
from bookings.models import MAX_QUANTITY
from bookings.placing import aplace
from bookings.seen import Seen
from bookings.steps import InLanes
from bookings.wishes import Wish
from ticketbook import request_ids
from ticketbook.api.answers import ApiAnswer
from ticketbook.api.problems import SERVER_ERROR, describe, problem
from ticketbook.api.strict import MAX_BODY, MONEY_TEXT, UUID_TEXT
from ticketbook.front.answers import Answer, Scope, rendered
from ticketbook.front.calls import scheme_of
from ticketbook.front.site import Site
from ticketbook.postgres import clock

logger = logging.getLogger(__name__)

ENDPOINT = ("POST", BOOKINGS)
FIELDS = {"ticketTierId", "quantity", "idempotencyKey", "userId", "maxTotal"}
STEPS = InLanes()
MAX_HOST = 300  # characters, with the port


async def book(scope: Scope, body: bytes, site: Site) -> Answer | None:
    """The answer, or None if Django has to answer."""
    head = _read_head(scope)
    if head is None:
        return None
    common = site.common_headers(scope)
    try:
        customer = await _authenticate(head.authorization)
        request = _read_body(body, head.idempotency_key, customer)
        if request is None:
            return None
        wish = Wish(user=customer, **request._asdict(), arrived_at=clock.now())
        answer = answer_of(await aplace(wish, STEPS), customer)
    except Exception as exc:
        answer = _problem_of(exc, scope)
    return rendered(answer, common)


def _problem_of(exc: Exception, scope: Scope) -> ApiAnswer:
    if isinstance(exc, AuthenticationFailed | NotAuthenticated):
        exc.auth_header = "Token"  # type: ignore[union-attr]
    described = describe(exc)
    if described and described.status < 500:
        return described
    request_id = request_ids.begin_scope(scope)  # only now: a request that is answered needs none
    if described is None:
        logger.exception("POST /bookings failed")
        described = problem(status=500, code="server_error", detail=SERVER_ERROR)
    described.body["requestId"] = described.headers[request_ids.HEADER] = request_id
    return described


class Head(NamedTuple):
    authorization: str
    idempotency_key: str | None


def _read_head(scope: Scope) -> Head | None:
    """None for a foreign host, for plain HTTP where TLS is required, for a header sent twice, and for
    query parameters, which are not known here."""
    if scope["query_string"]:
        return None
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in {b"host", b"authorization", b"idempotency-key"}:
            if name in found:
                return None
            found[name] = value.decode("latin-1")
    if not is_for_us(scope, found.get(b"host", "")):
        return None
    return Head(found.get(b"authorization", ""), found.get(b"idempotency-key"))


def is_for_us(scope: Scope, host: str) -> bool:
    if settings.SECURE_SSL_REDIRECT and scheme_of(scope) != "https":
        return False
    return is_our_host(host, tuple(settings.ALLOWED_HOSTS))


@lru_cache(maxsize=100)
def is_our_host(host: str, allowed: tuple[str, ...]) -> bool:
    if len(host) > MAX_HOST:
        return False
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, list(allowed))


async def _authenticate(authorization: str) -> KnownCustomer:
    # The customer of a token. Raises what the API's authentication raises (accounts/auth.py).
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "token":
        raise NotAuthenticated
    try:
        digest = hash_token(token.strip())
    except (ValueError, TypeError):
        raise AuthenticationFailed(INVALID) from None
    customer = await TOKENS.ask(digest)
    if customer is None:
        raise AuthenticationFailed(INVALID)
    if not customer.is_active:
        raise AuthenticationFailed(INACTIVE)
    return customer


class Body(NamedTuple):
    ticket_tier_id: UUID
    quantity: int
    idempotency_key: UUID
    seen: Seen | None


def _read_body(body: bytes, key_header: str | None, customer: KnownCustomer) -> Body | None:
    # What the request asks for; None unless it is plainly what the contract takes.
    if len(body) > MAX_BODY:
        return None
    try:
        data: Any = orjson.loads(body)
        if type(data) is not dict or not data.keys() <= FIELDS:
            return None
        tier, quantity = data["ticketTierId"], data["quantity"]
        key: Any = data.get("idempotencyKey")
        if key is None:
            key = key_header
        max_total = data.get("maxTotal")
        plain = (
            # orjson keeps the last of two equal keys. What is plain has no colon in its texts, so more
            # colons than fields mean that a key was repeated.
            body.count(b":") == len(data)
            and type(quantity) is int
            and 1 <= quantity <= MAX_QUANTITY
            and UUID_TEXT.fullmatch(tier)
            and UUID_TEXT.fullmatch(key)
            and (key_header is None or key_header.lower() == key.lower())
            and data.get("userId", customer.public_id) == customer.public_id
            and (max_total is None or MONEY_TEXT.fullmatch(max_total))
        )
        if not plain:
            return None
        seen = None if max_total is None else Seen(max_total=Decimal(max_total))
        return Body(UUID(tier), quantity, UUID(key), seen)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
