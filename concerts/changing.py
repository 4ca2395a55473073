"""What the verbs of a concert share: they lock it, and its history in the admin says who did what."""

from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction

from concerts import stock
from concerts.models import Concert
from ticketbook.copies import store
from ticketbook.errors import NotFound, Refusal


class CalledOffBefore(Refusal):
    """This concert was called off before, and that is for good. To plan it again, duplicate it."""

    status = 409


class InThePast(Refusal):
    """That date is in the past. Choose a later one."""


class NotAllowed(Refusal):
    """The concert cannot be like that."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.args = (sentence,)


def lock_concert(concert_id: UUID) -> Concert:
    """The concert, locked until the transaction ends. Its tiers are locked after it, never before.

    Raises NotFound, and OperationalError (LockNotAvailable).
    """
    concert = Concert.objects.select_for_update(no_key=True).filter(pk=concert_id).first()
    if concert is None:
        raise NotFound
    return concert


def check(concert: Concert) -> None:
    """Whether its fields go together. Raises NotAllowed with the sentences of the rules that it breaks."""
    try:
        concert.full_clean()
    except ValidationError as exc:
        raise NotAllowed(" ".join(exc.messages)) from exc


def note(concert: Concert, message: str, by: AbstractBaseUser) -> None:
    """Write into the concert's history, and let everybody read it anew after the commit."""
    LogEntry.objects.log_actions(by.pk, [concert], CHANGE, message, single_object=True)
    see_it_anew()


def see_it_anew() -> None:
    transaction.on_commit(store.forget)
    transaction.on_commit(stock.forget_snapshots)
