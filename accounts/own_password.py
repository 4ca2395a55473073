"""A page asks for the password again, because somebody may have found the session open."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts import throttle
from accounts.models import User
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Throttled

WRONG = "This is not your password."


def key_of(user: User) -> str:
    return throttle.key_of("own password", str(user.pk))


def check_own_password(request: HttpRequest, user: User, typed: str) -> None:
    """Raises ValidationError if it is wrong. Guesses are counted, and the answer is then a 429."""
    guesser = throttle.by_account(
        "own password",
        str(user.pk),
        failures=settings.LOGIN_FAILURES,
        longest=settings.LOGIN_LONGEST_WAIT,
    )
    try:
        throttle.count(*guesser)
    except Throttled as throttled:
        answer_429(request, throttled)
        raise ValidationError(str(throttled), code=throttled.code) from throttled
    if not user.check_password(typed):
        raise ValidationError(WRONG, code="password_incorrect")
    throttle.forget(each.key for each in guesser)
