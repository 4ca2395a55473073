"""A concert moves to another date or place. Whoever sells tickets of it connects to `moved`."""

from datetime import datetime

from django.dispatch import Signal

from concerts.models import Concert

# Sent with `concert`, as it is now, in the transaction that moves it.
moved = Signal()


def tell_if_moved(before: Concert, concert: Concert, *, now: datetime) -> None:
    """Call it in the transaction that changes a concert, after the change.

    A correction of what is over, or of what is called off, moves nobody.
    """
    is_over = before.date <= now and concert.date <= now
    if is_over or concert.status == Concert.Status.CANCELLED:
        return
    if _where_and_when(before) != _where_and_when(concert):
        moved.send(Concert, concert=concert)


def _where_and_when(concert: Concert) -> tuple[datetime, str, str]:
    return concert.date, concert.time_zone, concert.venue
