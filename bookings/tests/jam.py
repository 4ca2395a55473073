"""A jam: a lane whose thread waits for the tier's lock, which the test holds."""

import time

from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, steps
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from ticketbook import event_loop


class Jam:
    def __init__(self, tier, act=None, *, after="FOR NO KEY UPDATE"):
        self.tier = tier
        self.holder = Stepped(act or cancelling(tier), after=after).wait_until_reached()
        self.riders = []

    def lead(self, act):
        """Send the first request into the lane, and wait until the lane's thread waits for the lock."""
        leader = Stepped(act)
        self.riders.append(leader)
        leader.wait_until_blocked_by(self.holder)
        return leader

    def follow(self, act):
        """Send one more request into the lane, and wait until it is in the queue."""
        before = len(self.queue)
        rider = Stepped(act)
        self.riders.append(rider)
        until(lambda: len(self.queue) > before or not rider.thread.is_alive())
        return rider

    @property
    def queue(self):
        return booking_lanes.lane_of(self.tier.pk).queue

    def clear(self):
        """Release the lock; returns the requests' results in the order in which they came."""
        self.holder.finish()
        return [rider.finish() for rider in self.riders]


def cancelling(tier):
    """Buy a ticket now; returns the act that cancels it."""
    booking = hold(wish(UserFactory(), tier)).booking
    Booking.objects.filter(pk=booking.pk).update(status="CONFIRMED", payment_status="SUCCESS")
    return lambda: cancel(Booking.objects.get(pk=booking.pk), now=timezone.now())


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.001)


def holding(*args, **kwargs):
    """The act that holds tickets by this wish."""
    wanted = wish(*args, **kwargs)
    return lambda: hold(wanted)


def settling_together(settlement):
    return lambda: event_loop.run(steps.InLanes().settle(settlement))


def kinds(results):
    return [type(result) for result in results]


def blocked():
    """How many database sessions wait for another transaction to end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
        )
        return cursor.fetchone()[0]
