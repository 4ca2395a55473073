"""What the outbox holds, as its reader gets it."""

import re

from mail.composing import compose
from mail.models import Mail


def mails():
    """(kind, address) of all mails, oldest first."""
    return list(Mail.objects.order_by("id").values_list("kind", "address"))


def link_of_last(kind):
    """The path of the link in the newest mail of a kind."""
    text = compose(Mail.objects.filter(kind=kind).latest("id")).body
    return re.search(r"http://127.0.0.1:\d+(/accounts/\S+)", text)[1]
