"""Mails that are posted to an address because somebody has typed it, or has asked on a page for it.

Nobody may learn by this who has an account or a booking. So nothing is looked up: the mail is posted for any
address, and it is skipped later, when it is to be sent, if there is nothing to tell.
"""

from uuid import uuid4

from django.db import transaction

from accounts import throttle
from mail.outbox import post
from ticketbook.errors import Throttled

# Seconds between two mails of a kind to one address. The wait doubles with each mail, and halves with time.
FIRST_WAIT, LONGEST_WAIT = 300, 3600


def post_on_request(kind: str, *, to: str) -> None:
    """Post a mail, unless one of this kind was posted to the address a few minutes ago.

    `to` is in its one form (accounts/email_field.py).
    """
    asked = throttle.Counted(
        throttle.key_of("mail on request", kind, to),
        limit=1,
        forget=LONGEST_WAIT,
        first_wait=FIRST_WAIT,
        longest_wait=LONGEST_WAIT,
    )
    try:
        with transaction.atomic():  # no count without a mail
            throttle.count(asked)
            post(kind=kind, about=uuid4(), to=to)  # it tells of no single row
    except Throttled:
        pass  # the mail of the first time is there or on its way, and the answer is the same
