"""To change a password, or to set a new one by a mailed link."""

from collections.abc import Callable
from uuid import UUID, uuid4

from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.http import HttpRequest
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from accounts import throttle
from accounts.models import User
from mail.outbox import post
from ticketbook.errors import Refusal
from ticketbook.postgres import clock

RESET, CHANGED = "password_reset", "password_changed"  # kinds of mail


class LinkUsed(Refusal):
    """This link has been used, or is too old."""


class PasswordChangedMeanwhile(Refusal):
    """Your password was changed while this page was open. Nothing was saved."""


class ResetLinks(PasswordResetTokenGenerator):
    """A token of these works until the password or the address changes, or somebody logs in.

    PASSWORD_RESET_TIMEOUT is how long it lives, in seconds.
    """

    key_salt = "accounts.new_password"

    def _now(self):  # type: ignore[no-untyped-def]
        return clock.now().replace(tzinfo=None)


reset_links = ResetLinks()


def may_reset(user: User) -> bool:
    # Staff may have taken the password away. A guest never has one.
    return user.is_active and not user.is_guest and user.has_usable_password()


def ask_for_link(request: HttpRequest, address: str) -> None:
    """Mail a link to whoever has an account with this address. Raises Throttled.

    The mail is written for an unknown address too, and skipped when it is to be sent. So nobody can tell the
    two apart, not even by the time that it takes.
    """
    throttle.count_mail(request, address)
    asked = uuid4()
    post(kind=RESET, about=asked, to=address)


def link_parts(user: User) -> tuple[str, str]:
    return urlsafe_base64_encode(force_bytes(user.pk)), reset_links.make_token(user)


def reset_password(user: User, *, token: str, password: str) -> None:
    """Set a new password, once for each link. Raises LinkUsed."""
    if not _set(user, password, lambda now: may_reset(now) and reset_links.check_token(now, token)):
        raise LinkUsed
    # Whoever has guessed at the old password keeps its owner waiting no longer.
    throttle.forget([throttle.key_of("log-in", "account", user.email)])


def change_password(user: User, *, password: str) -> None:
    """Set a new password, after the old one was checked. Raises PasswordChangedMeanwhile."""
    before = user.password
    if not _set(user, password, lambda now: now.password == before):
        raise PasswordChangedMeanwhile


def _set(user: User, password: str, still_allowed: Callable[[User], bool]) -> bool:
    # Ends the sessions and API tokens (passwords.EndsTokens), and tells the owner.
    user.set_password(password)  # before the lock, because it takes long
    with transaction.atomic():
        now = locked(user.pk)
        if now is None or not still_allowed(now):
            return False
        user.save(update_fields=["password"])
        post(kind=CHANGED, about=user.pk, to=now.email, key=f"{CHANGED}:{uuid4()}")
    return True


def locked(pk: UUID) -> User | None:
    """NO KEY, so that bookings may refer to the row meanwhile."""
    return User.objects.select_for_update(no_key=True).filter(pk=pk).first()
