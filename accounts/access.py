"""Lists and ends the sessions and API tokens of an account."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from knox.models import AuthToken

from accounts import throttle
from accounts.models import Session, User
from ticketbook.postgres import clock


@dataclass(frozen=True, slots=True)
class Access:
    """A session or an API token.

    `handle` names it in a page, and is no secret. `used_at` is when it was last used, to the hour; None if
    that is not known.
    """

    handle: str
    words: str
    made_at: datetime
    used_at: datetime | None
    ends_at: datetime | None
    row: Session | AuthToken
    is_this: bool = False

    def end(self) -> None:
        self.row.delete()


def all_of(user: User, *, this_session: str | None) -> list[Access]:
    """This session first, then the others and the API tokens, newest first."""
    return [*_sessions(user, this_session), *_tokens(user)]


def end_all_others(user: User, *, this_session: str | None) -> None:
    with transaction.atomic():
        Session.objects.filter(user=user).exclude(session_key=this_session).delete()
        AuthToken.objects.filter(user=user).delete()


def _sessions(user: User, this_session: str | None) -> Iterator[Access]:
    alive = Session.objects.filter(user=user, expire_date__gt=clock.now()).order_by("-made_at")
    for row in sorted(alive, key=lambda row: row.pk != this_session):
        yield Access(
            handle=throttle.key_of("session", row.pk),
            words=row.browser or "A browser",
            made_at=row.made_at,
            used_at=row.used_at,
            ends_at=None,
            row=row,
            is_this=row.pk == this_session,
        )


def _tokens(user: User) -> Iterator[Access]:
    alive = AuthToken.objects.filter(user=user, expiry__gt=clock.now()).order_by("-created")
    for row in alive:
        yield Access(
            handle=throttle.key_of("token", row.pk),
            words=f"API token {row.token_key[:8]}…",
            made_at=row.created,
            used_at=None,
            ends_at=row.expiry,
            row=row,
        )
