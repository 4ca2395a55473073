"""Wishes, and the first step of a booking by itself."""

import uuid

from django.conf import settings
from django.utils import timezone

from bookings import steps
from bookings.wishes import Wish
from ticketbook import event_loop


def wish(user, tier, quantity=1, key=None, *, now=None, **more):
    return Wish(
        user=user,
        ticket_tier_id=tier.pk,
        quantity=quantity,
        idempotency_key=key or uuid.uuid4(),
        arrived_at=now or timezone.now(),
        **more,
    )


def hold(wish):
    """Make the first step of a booking, in a lane or on this thread; returns Held, or raises."""
    if settings.BOOKING_LANES:
        return event_loop.run(steps.InLanes().hold(wish))
    return steps.finish(steps.OnThisThread().hold(wish))
