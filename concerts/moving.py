"""A concert moves to another date or place. Whoever sells tickets of it connects to `moved`."""

from datetime import datetime, timedelta

from django.dispatch import Signal

from concerts.models import Concert, Move

# Sent with `concert`, as it is now, in the transaction that moves it.
moved = Signal()

# A customer who buys while a move is being saved may have seen the old date.
WHILE_IT_IS_SAVED = timedelta(seconds=10)


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
