from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.models import User


class PasswordBackend(ModelBackend):
    """An e-mail address and a password. A refusal takes as long for an unknown address as for a known one."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        email = kwargs.get("email") if username is None else username
        if email is None or password is None:
            return None
        # Checking an unusable password hashes as often as checking a real one.
        user = User.objects.filter(email=email).first() or User(password="!")
        if user.check_password(password) and self.user_can_authenticate(user):
            return user
        return None
