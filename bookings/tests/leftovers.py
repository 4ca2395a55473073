"""What processes and tasks leave behind when they end in the middle."""

import time

from bookings.models import Booking
from bookings.resolving import CLAIM, resolve_expired

ROUNDS = 5


def resolve_all(*, now):
    """Resolve what is overdue, in rounds, as the worker does. Fails if a hold is left after ROUNDS.

    One round may not be enough. The resolver skips a hold whose row somebody is writing
    (bookings/writing_later.py does so about a second after the request), and on a busy machine the gateway
    may not answer in time.
    """
    for round_ in range(ROUNDS):
        if round_:
            time.sleep(1)
        resolve_expired(now=now + round_ * CLAIM, limit=10_000)
        if not (left := list(Booking.objects.pending())):
            return
    assert not left
