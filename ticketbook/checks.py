"""What `manage.py check --deploy` says about our own settings."""

from typing import Any

from django.conf import settings
from django.core import checks


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
