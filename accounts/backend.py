from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import devices, throttle
from accounts.models import User


class PasswordBackend(ModelBackend):
    """An e-mail address and a password. A refusal takes as long for an unknown address as for a known one.

    Every log-in comes through here, so this is where wrong ones are counted. Raises Throttled.
    """

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
        account = User._meta.get_field("email").get_prep_value(email)
        place, guesser = _counted(request, account)
        throttle.count(*place, *guesser)
        # Checking an unusable password hashes as often as checking a real one.
        user = User.objects.accounts().filter(email=email).first() or User(password="!")
        if user.check_password(password) and self.user_can_authenticate(user):
            throttle.take_back(*place)
            throttle.forget(each.key for each in guesser)
            devices.remember(request, account)
            return user
        return None

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not user.is_guest


def _counted(
    request: HttpRequest | None, account: str
) -> tuple[list[throttle.Counted], list[throttle.Counted]]:
    # A known device counts for itself. All strangers together count for the account, and for their addresses.
    device = devices.device_of(request, account)
    guesser = throttle.by_account(
        "log-in",
        *(device or ("account", account)),
        failures=settings.LOGIN_FAILURES,
        longest=settings.LOGIN_LONGEST_WAIT,
    )
    if device:
        return [], guesser
    return throttle.by_address("log-in", settings.LOGIN_FAILURES_PER_ADDRESS, request), guesser
