from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import User
from ticketbook.postgres.statements import columns, execute, execute_prepared, rows_of


def customer(request: Request | HttpRequest) -> User:
    """The user of a request that only people who are logged in can make."""
    user = request.user
    assert isinstance(user, User)
    return user


INVALID = "Invalid token."
INACTIVE = "User inactive or deleted."


class KnownCustomer(NamedTuple):
    """A customer as `customers_of` finds one."""

    id: UUID
    public_id: str
    is_active: bool


FIND_CUSTOMERS = """
SELECT token.digest, customer.id, customer.public_id, customer.is_active
FROM knox_authtoken token JOIN accounts_user customer ON customer.id = token.user_id
WHERE token.digest = ANY(%s) AND (token.expiry IS NULL OR token.expiry >= now())
"""


def customers_of(digests: Sequence[str]) -> dict[str, KnownCustomer]:
    """The customers of these tokens, by digest, in one query. Dead and unknown tokens are left out."""
    rows = execute(FIND_CUSTOMERS, [list(digests)]).fetchall()
    return {digest: KnownCustomer(*customer) for digest, *customer in rows}


FIND_USER = f"""
SELECT {columns(User, "customer")}
FROM knox_authtoken token JOIN accounts_user customer ON customer.id = token.user_id
WHERE token.digest = %s AND (token.expiry IS NULL OR token.expiry >= now())
"""


class OneQueryTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """knox's tokens, found by their digest: the token and its user in one query instead of two.

    knox looks through all tokens that begin alike, and through all of the user's for expired ones to
    delete; accounts/tasks.py deletes them instead. Every API request comes through here, so the
    query is plain SQL: building it with the ORM takes longer than running it.
    """

    def authenticate(self, request: Request) -> tuple[User, AuthToken] | None:
        # Not from request.headers, which would read all of them to find this one.
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


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """What the API's description says of it."""

    target_class = "accounts.auth.OneQueryTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token …`, from POST /auth/token",
        }
