from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from knox.settings import knox_settings
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import User
from ticketbook.postgres import clock
from ticketbook.postgres.statements import columns, execute, execute_prepared, rows_of


def customer(request: Request | HttpRequest) -> User:
    """The user of a request to a view that requires log-in."""
    user = request.user
    assert isinstance(user, User)
    return user


INVALID = "Invalid token."
INACTIVE = "User inactive or deleted."


class KnownCustomer(NamedTuple):
    """What `customers_of` finds out about a customer."""

    id: UUID
    public_id: str
    is_active: bool

    @property
    def is_guest(self) -> bool:
        return False  # a guest has no API token


FIND_CUSTOMERS = """
SELECT token.digest, customer.id, customer.public_id, customer.is_active
FROM knox_authtoken token JOIN accounts_user customer ON customer.id = token.user_id
WHERE token.digest = ANY(%s) AND (token.expiry IS NULL OR token.expiry >= now())
"""


def customers_of(digests: Sequence[str]) -> dict[str, KnownCustomer]:
    """The customers of API tokens, by the digest of the token. Dead and unknown tokens are left out."""
    rows = execute(FIND_CUSTOMERS, [list(digests)]).fetchall()
    return {digest: KnownCustomer(*customer) for digest, *customer in rows}


FIND_USER = f"""
SELECT {columns(User, "customer")}
FROM knox_authtoken token JOIN accounts_user customer ON customer.id = token.user_id
WHERE token.digest = %s AND (token.expiry IS NULL OR token.expiry >= now())
"""


class OneQueryTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """Finds a knox token by its digest, together with its user, in one query.

    knox itself reads all tokens that begin alike, and deletes the user's expired ones; accounts/tasks.py
    deletes those instead. The query is plain SQL, because building it with the ORM takes longer than running
    it.
    """

    def authenticate(self, request: Request) -> tuple[User, AuthToken] | None:
        # Cheaper than request.headers, which reads all headers.
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "token":
            return None
        try:
            digest = hash_token(token.strip())
        except (ValueError, TypeError):  # not hexadecimal
            raise AuthenticationFailed(INVALID) from None
        for user in rows_of(User, execute_prepared(FIND_USER, [digest])):
            if not user.is_active:
                raise AuthenticationFailed(INACTIVE)
            return user, AuthToken(digest=digest, user=user)
        raise AuthenticationFailed(INVALID)


def new_token(user: User) -> tuple[str, datetime]:
    """A new API token, and when it expires."""
    row, token = AuthToken.objects.create(user)
    # knox takes both times from the clock of this machine, and FIND_USER compares by the database's.
    created = clock.ask()
    expiry = created + knox_settings.TOKEN_TTL
    AuthToken.objects.filter(pk=row.pk).update(created=created, expiry=expiry)
    return token, expiry


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI description names it."""

    target_class = "accounts.auth.OneQueryTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token …`, from POST /auth/token",
        }
