"""To tell somebody something by mail: one row, in the transaction of what it tells of.

A rollback takes the mail with it, and after a commit the worker sends it within seconds (mail/sending.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction

from mail.models import Mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A mail to be: `kind` as registered (mail/kinds.py), `about` the key of a row, `to` an address.

    `key` names the event, and no event is told twice. Without one it is the kind and `about`.
    """

    kind: str
    about: UUID
    to: str
    key: str = ""
    language: str = ""


# In the order of their keys, so that two transactions with the same keys do not wait for each other.
INSERT = """
INSERT INTO mail_mail (kind, about, address, key, language, message_id)
SELECT kind, about, address, key, language, '<' || uuidv7() || '.' || kind || '@' || %s || '>'
FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[])
    AS new (kind, about, address, key, language)
ORDER BY key
ON CONFLICT (key) DO NOTHING
"""


def post(*, kind: str, about: UUID, to: str, key: str = "", language: str = "") -> None:
    """Write one mail, in the caller's transaction. A second one with the same key changes nothing."""
    post_all([Post(kind=kind, about=about, to=to, key=key, language=language)])


def post_all(posts: Iterable[Post]) -> None:
    """As `post`, for many mails in one statement."""
    rows = [(p.kind, p.about, p.to, p.key or f"{p.kind}:{p.about}", p.language) for p in posts]
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [settings.MAIL_DOMAIN, *columns])


def send_again(mail: Mail, *, by: AbstractBaseUser, now: datetime) -> bool:
    """Let a failed mail be sent once more, with all its attempts. False if it is not failed any more.

    It keeps its Message-ID. Its history in the admin says who did it.
    """
    with transaction.atomic():
        failed = Mail.objects.failed().filter(pk=mail.pk)
        again = failed.update(status=Mail.Status.WAITING, attempts=0, next_attempt_at=now)
        if again:
            LogEntry.objects.log_actions(by.pk, [mail], CHANGE, "Sent again", single_object=True)
    return bool(again)
