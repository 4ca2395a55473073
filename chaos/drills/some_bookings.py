"""Places bookings when it is told to, one after the other, so that `cost` can count what they take.

    python -m chaos.drills.some_bookings TIER USER NUMBER [calls]

prints `ready`. For each line on standard input it places so many bookings and prints `done`, and with `calls`
how many functions, of Python's and of C's, were called for them.
"""

import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import django


def main() -> None:
    tier, user, number = sys.argv[1:4]
    django.setup()
    count = _Calls()
    if "calls" in sys.argv:
        threading.setprofile(count)
        sys.setprofile(count)
    place = _placer(uuid.UUID(tier), user)
    for _ in range(20):  # then everything is imported, connected and prepared
        place()
    print("ready", flush=True)
    for _ in sys.stdin:
        count.number = 0
        for _ in range(int(number)):
            place()
        print("done", count.number, flush=True)


class _Calls:
    """Counts calls in this thread, and in all that start later."""

    number = 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event in {"call", "c_call"}:
            self.number += 1


def _placer(tier: uuid.UUID, user: str) -> Callable[[], None]:
    from accounts.models import User
    from bookings.models import Booking
    from bookings.placing import place
    from bookings.wishes import Wish
    from ticketbook.postgres import clock

    customer = User.objects.get(email=user)

    def act() -> None:
        wish = Wish(
            user=customer,
            ticket_tier_id=tier,
            quantity=1,
            idempotency_key=uuid.uuid4(),
            arrived_at=clock.now(),
        )
        booking = place(wish).booking
        assert booking.status == Booking.Status.CONFIRMED

    return act


if __name__ == "__main__":
    main()
