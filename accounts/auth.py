import binascii

from django.db import connection
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import User


def customer(request: Request | HttpRequest) -> User:
    """The user of a request that only people who are logged in can make."""
    assert isinstance(request.user, User)
    return request.user


# The fields of a user, and the token's expiry.
FIND_TOKEN = """
SELECT {fields}, token.expiry FROM knox_authtoken token JOIN accounts_user ON user_id = accounts_user.id
WHERE digest = %s
"""


class OneQueryTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """knox's tokens, found by their digest: the token and its user in one query instead of two.

    knox looks through all tokens that begin alike, and through all of the user's for expired ones to
    delete; accounts/tasks.py deletes them instead. Every API request comes through here, so the
    query is plain SQL: building it with the ORM takes longer than running it.
    """

    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        try:
            digest = hash_token(token.decode())
        except (UnicodeDecodeError, TypeError, binascii.Error):
            raise AuthenticationFailed("Invalid token.") from None
        fields = [field.attname for field in User._meta.concrete_fields]
        columns = ", ".join(f"accounts_user.{field}" for field in fields)
        with connection.cursor() as cursor:
            cursor.execute(FIND_TOKEN.format(fields=columns), [digest])
            row = cursor.fetchone()
        if row is None or (row[-1] is not None and row[-1] < timezone.now()):
            raise AuthenticationFailed("Invalid token.")
        user = User.from_db(connection.alias, fields, row[:-1])
        found: tuple[User, AuthToken] = self.validate_user(
            AuthToken(digest=digest, user=user, expiry=row[-1])
        )
        return found


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
