"""The hot door: POST /api/v1/bookings on the event loop, without a thread.

It takes what is plainly valid. Everything else it hands on by returning None before it has done
anything, and Django answers (bookings/api.py): so the wording of a refusal stays in one place.
"""

import logging
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from knox.crypto import hash_token
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated

from accounts.auth import INACTIVE, INVALID, KnownCustomer
from bookings.answers import answer_of
from bookings.holding import Wish
from bookings.models import MAX_QUANTITY
from bookings.placing import placing
from bookings.steps import TOKENS, Together
from ticketbook.api.problems import SERVER_ERROR, describe, problem
from ticketbook.api.strict import MAX_BODY, UUID_TEXT, ApiAnswer
from ticketbook.front.answers import Answer, Scope, rendered
from ticketbook.front.site import Site, scheme_of

logger = logging.getLogger(__name__)

FIELDS = {"ticketTierId", "quantity", "idempotencyKey", "userId"}
STEPS = Together()
MAX_HOST = 300  # characters, with the port


class Head(NamedTuple):
    """The headers that this door needs."""

    authorization: str
    idempotency_key: str | None


async def book(scope: Scope, body: bytes, site: Site) -> Answer | None:
    head = read_head(scope)
    if head is None:
        return None
    common = site.common_headers(scope)
    try:
        customer = await authenticate(head.authorization)
        asked = read_body(body, head.idempotency_key, customer)
        if asked is None:
            return None
        answer = await answered(asked, customer)
    except Exception as exc:
        answer = problem_of(exc)
    return rendered(answer, common)


class Asked(NamedTuple):
    ticket_tier_id: UUID
    quantity: int
    idempotency_key: UUID


async def answered(asked: Asked, customer: KnownCustomer) -> ApiAnswer:
    wish = Wish(user=customer, **asked._asdict(), now=timezone.now())
    return answer_of(await placing(wish, STEPS), customer)


def problem_of(exc: Exception) -> ApiAnswer:
    if isinstance(exc, AuthenticationFailed | NotAuthenticated):
        exc.auth_header = "Token"  # type: ignore[union-attr]
    if described := describe(exc):
        return described
    logger.exception("POST /bookings failed")
    return problem(status=500, code="server_error", detail=SERVER_ERROR)


# --- Who asks -----------------------------------------------------------------------------------


def read_head(scope: Scope) -> Head | None:
    """None for a host that is not ours, for plain HTTP where TLS is asked for, for a header sent twice."""
    found: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in {b"host", b"authorization", b"idempotency-key"}:
            if name in found:
                return None
            found[name] = value.decode("latin-1")
    if not is_ours(found.get(b"host", ""), tuple(settings.ALLOWED_HOSTS)):
        return None
    if settings.SECURE_SSL_REDIRECT and scheme_of(scope) != "https":
        return None
    return Head(found.get(b"authorization", ""), found.get(b"idempotency-key"))


@lru_cache(maxsize=100)
def is_ours(host: str, allowed: tuple[str, ...]) -> bool:
    if len(host) > MAX_HOST:
        return False
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, list(allowed))


async def authenticate(authorization: str) -> KnownCustomer:
    """Whose token it is. Raises what the API's authentication raises (accounts/auth.py)."""
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


# --- What is asked for --------------------------------------------------------------------------


def read_body(body: bytes, key_header: str | None, customer: KnownCustomer) -> Asked | None:
    """The wish, if it is plainly what the contract takes."""
    if len(body) > MAX_BODY:
        return None
    try:
        data: Any = orjson.loads(body)
        if type(data) is not dict or not data.keys() <= FIELDS:
            return None
        tier, quantity = data["ticketTierId"], data["quantity"]
        key: Any = data.get("idempotencyKey", key_header)
        plain = (
            type(quantity) is int
            and 1 <= quantity <= MAX_QUANTITY
            and UUID_TEXT.fullmatch(tier)
            and UUID_TEXT.fullmatch(key)
            and (key_header is None or key_header.lower() == key.lower())
            and data.get("userId", customer.public_id) == customer.public_id
        )
        return Asked(UUID(tier), quantity, UUID(key)) if plain else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
