"""A form of a verb does its work once, however often it is sent: each carries a key of its own."""

from datetime import datetime, timedelta
from uuid import UUID

from backoffice.models import SentForm

KEPT_FOR = timedelta(days=30)


def claim(key: UUID) -> bool:
    """Whether this form may do its work now. Of two that are sent at once, one may.

    A process that dies at the work keeps the claim, because nobody knows whether the work was done.
    """
    _, is_new = SentForm.objects.get_or_create(pk=key)
    return is_new


def was_sent(key: UUID) -> bool:
    return SentForm.objects.filter(pk=key).exists()


def release(key: UUID) -> None:
    """The work was refused and nothing was done, so the form may be sent again."""
    SentForm.objects.filter(pk=key).delete()


def forget_old(now: datetime) -> None:
    SentForm.objects.filter(sent_at__lt=now - KEPT_FOR).delete()
