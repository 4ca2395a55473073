"""What `manage.py check` says about our own settings, with `--deploy` or `--database default`."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS

from ticketbook.replica import reading


def ticket_keys_are_set(**kwargs: Any) -> list[checks.CheckMessage]:
    if settings.TICKET_KEYS_SET or settings.EMBEDDED or settings.DEMO:
        return []
    return [
        checks.Warning(
            "TICKET_KEYS is not set, so the key that signs tickets follows from SECRET_KEY. If that "
            "is changed, no QR code that customers have is valid any more. Set TICKET_KEYS to the output of: "
            "manage.py ticket_keys --new",
            id="ticketbook.W001",
        )
    ]


def replica_is_ours(databases: Sequence[str] | None = None, **kwargs: Any) -> list[Any]:
    # No error: the site runs without it, and a failover may have made it the primary a moment ago.
    if DEFAULT_DB_ALIAS not in (databases or ()) or not (sentence := reading.problem()):
        return []
    return [
        checks.Warning(f"{sentence} Everything is read from the primary.", id="ticketbook.W002")
    ]
