"""Where no mail server is named: each mail becomes a file that one can open."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


class Files(BaseEmailBackend):
    """Writes mails into EMAIL_FILE_PATH. A second copy of a mail replaces the first one."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in email_messages:
            name = re.sub(r"[^\w.-]", "_", message.extra_headers["Message-ID"].partition("@")[0])
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_bytes(message.message().as_bytes())
            draft.replace(folder / f"{name.lstrip('_')}.eml")
        return len(email_messages)
