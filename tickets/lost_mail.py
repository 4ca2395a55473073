"""'I lost my mail': mails the links to somebody's upcoming bookings to the address that was typed in.

Nobody may learn here who has an account. So the request looks nobody up: it writes a mail to whatever
address was typed, with the same statements each time. Whether that address has bookings is asked when the
mail is to be sent (`tickets/mails.py`); if it has none, the mail is skipped.
"""

from datetime import datetime, timedelta
from uuid import uuid4

from django.db import transaction
from django.http import HttpRequest

from accounts import throttle
from mail import outbox
from mail.models import Mail
from ticketbook.errors import Throttled

MY_BOOKINGS = "my_bookings"  # the kind of mail

PER_MINUTE = 30  # from one client, whatever the addresses
# Seconds between two mails to one address. The wait doubles with each mail, and halves again with time.
FIRST_WAIT, LONGEST_WAIT = 300, 3600
KEEP_SKIPPED = timedelta(days=1)


def ask(email: str, request: HttpRequest) -> None:
    """Have the links mailed, unless that was done a few minutes ago. Raises Throttled for the client.

    `email` is in its one form (accounts/email_field.py).
    """
    throttle.count(*throttle.by_address("lost mail", PER_MINUTE, request))
    asked = throttle.Counted(
        throttle.key_of("lost mail to", email),
        limit=1,
        forget=LONGEST_WAIT,
        first_wait=FIRST_WAIT,
        longest_wait=LONGEST_WAIT,
    )
    try:
        with transaction.atomic():  # no count without a mail
            throttle.count(asked)
            outbox.post(kind=MY_BOOKINGS, about=uuid4(), to=email)  # it tells of no single row
    except Throttled:
        pass  # the mail of the first time is there or on its way, and the answer is the same


def forget_strangers(*, now: datetime) -> None:
    """Delete the mails that were skipped: most of their addresses are those of people we do not know."""
    old = Mail.objects.filter(made_at__lt=now - KEEP_SKIPPED)
    old.filter(kind=MY_BOOKINGS, status=Mail.Status.SKIPPED).delete()
