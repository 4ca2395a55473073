"""The code and the test vectors of docs/tickets.md, read from the document."""

import json
import re

from django.conf import settings

DOCUMENT = (settings.BASE_DIR / "docs" / "tickets.md").read_text()


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return found


VERIFY = block("js")
VECTORS = json.loads(block("json"))
SECRETS = [b"\1" * 32, b"\2" * 32]
