"""The mail sink of a chaos run: a folder in which every copy of a mail that arrives is a file of its own.

mail/files.py replaces the first copy by the second one, so nobody would notice that somebody was told twice.
"""

import uuid
from collections.abc import Iterator, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


class Copies(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(parents=True, exist_ok=True)
        for message in email_messages:
            draft = folder / f"{uuid.uuid4()}.draft"
            draft.write_bytes(message.message().as_bytes())
            draft.replace(draft.with_suffix(".eml"))
        return len(email_messages)


def arrived(folder: Path) -> Iterator[tuple[str, float]]:
    """The Message-ID of each copy, and when it came, in Unix time. The files say so, and no process."""
    for file in folder.glob("*.eml"):
        with open(file, "rb") as letter:
            message = BytesHeaderParser().parse(letter)
        yield str(message["Message-ID"]).strip(), file.stat().st_mtime
