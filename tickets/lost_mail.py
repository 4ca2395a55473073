"""'I lost my mail': mails the links to somebody's upcoming bookings to the address that was typed in."""

from datetime import datetime, timedelta

from django.http import HttpRequest

from accounts import throttle
from accounts.on_request import post_on_request
from mail.models import Mail

MY_BOOKINGS = "my_bookings"  # the kind of mail

PER_MINUTE = 30  # from one client, whatever the addresses
KEEP_SKIPPED = timedelta(days=1)


def ask(email: str, request: HttpRequest) -> None:
    """Have the links mailed, unless that was done a few minutes ago. Raises Throttled for the client.

    `email` is in its one form (accounts/email_field.py).
    """
    throttle.count(*throttle.by_address("lost mail", PER_MINUTE, request))
    post_on_request(MY_BOOKINGS, to=email)


def forget_strangers(*, now: datetime) -> None:
    """Delete the mails that were skipped: most of their addresses are those of people we do not know."""
    old = Mail.objects.filter(made_at__lt=now - KEEP_SKIPPED)
    old.filter(kind=MY_BOOKINGS, status=Mail.Status.SKIPPED).delete()
