"""What processes and tasks leave behind when they end in the middle."""

import time

from bookings.models import Booking
from bookings.resolving import CLAIM, resolve_expired

ROUNDS = 5


def resolve_all(*, now):
    """Resolve what is overdue, in rounds, as the worker does; fails if a hold is left.

    One round may not be enough. The resolver skips a hold that somebody writes at this moment
    (bookings/writing_later.py does about a second after its request), and a gateway on a busy machine may not
    answer in time.
    """
    for round_ in range(ROUNDS):
        if round_:
            time.sleep(1)
        resolve_expired(now=now + round_ * CLAIM, limit=10_000)
        if not (left := list(Booking.objects.pending())):
            return
    assert not left
