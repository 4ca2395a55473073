"""A concert moves to another date or place. Whoever sells tickets of it connects to `moved`."""

from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.dispatch import Signal

from concerts.changing import CalledOffBefore, InThePast, check, lock_concert, note
from concerts.models import Concert, Move
from ticketbook.errors import Refusal
from ticketbook.zones import in_words

# Sent with `concert`, as it is now, in the transaction that moves it.
moved = Signal()

# A customer who buys while a move is being saved may have seen the old date.
WHILE_IT_IS_SAVED = timedelta(seconds=10)


class StaysWhereItIs(Refusal):
    """Date, time zone and venue are as before, so there is nothing to move."""


class MovedMeanwhile(Refusal):
    """This concert was moved meanwhile."""

    status = 409

    def __init__(self, concert: Concert) -> None:
        super().__init__()
        self.args = (
            f"This concert was moved while your form was open. Now it is {place(concert)}. Nothing was done. "
            "To move it from there, send the form again.",
        )


def place(concert: Concert) -> str:
    return f"on {in_words(concert.date, concert.time_zone)} at {concert.venue}"


def seen_as(concert: Concert) -> str:
    """A digest of date and place, by which a form can tell that they are not what it showed."""
    return blake2b(repr(_where_and_when(concert)).encode(), digest_size=8).hexdigest()


def move(
    concert_id: UUID,
    *,
    date: datetime,
    time_zone: str,
    venue: str,
    seen: str,
    by: AbstractBaseUser,
    reason: str,
    now: datetime,
) -> Concert:
    """Give a concert another date or place, and tell its buyers. `seen` is what `seen_as` said of it before.

    Sales times stay. Raises NotFound, CalledOffBefore, InThePast, StaysWhereItIs, MovedMeanwhile and
    NotAllowed, which change nothing.
    """
    with transaction.atomic():
        concert = lock_concert(concert_id)
        before = Concert.objects.get(pk=concert_id)
        if concert.status == Concert.Status.CANCELLED:
            raise CalledOffBefore
        if seen_as(concert) != seen:
            raise MovedMeanwhile(concert)
        if (date, time_zone, venue) == _where_and_when(concert):
            raise StaysWhereItIs
        if date <= now:
            raise InThePast
        concert.date, concert.time_zone, concert.venue = date, time_zone, venue
        check(concert)
        concert.save(update_fields=["date", "time_zone", "venue", "updated_at"])
        tell_if_moved(before, concert, now=now)
        note(concert, f"Moved. It was {place(before)}. {reason}".strip(), by)
    return concert


def tell_if_moved(before: Concert, concert: Concert, *, now: datetime) -> None:
    """Call it in the transaction that changes a concert, after the change. It keeps what the concert was.

    A correction of what is over, or of what is called off, moves nobody.
    """
    is_over = before.date <= now and concert.date <= now
    if is_over or concert.status == Concert.Status.CANCELLED:
        return
    if _where_and_when(before) != _where_and_when(concert):
        date, time_zone, venue = _where_and_when(before)
        Move.objects.create(
            concert=concert, moved_at=now, date=date, time_zone=time_zone, venue=venue
        )
        moved.send(Concert, concert=concert)


def _where_and_when(concert: Concert) -> tuple[datetime, str, str]:
    return concert.date, concert.time_zone, concert.venue


def moves_since(concert: Concert, at: datetime) -> list[Move]:
    """The moves after this moment, the first of them first. It says when and where the concert was then.

    It looks at `concert.moves`, which may be prefetched.
    """
    later = [move for move in concert.moves.all() if move.moved_at > at - WHILE_IT_IS_SAVED]
    return sorted(later, key=lambda move: move.moved_at)
