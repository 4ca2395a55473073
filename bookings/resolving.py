"""To resolve a hold: ask the gateway about it, then settle it. For holds left by a crash or a time-out.

A timer alone never fails a booking, because its payment may have gone through. A hold fails by the gateway's
answer, or if the gateway gives none and the booking is older than HOLD_GIVE_UP_SECONDS. A success that is
found after that is refunded.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from bookings import payments
from bookings.gateways.base import GatewayUnavailable, Outcome
from bookings.models import Booking, BookingQuerySet
from bookings.settling import settle

logger = logging.getLogger(__name__)

# A claimed hold is left to its claimer for this long. If that is not enough, the gateway is asked twice,
# and the hold is still settled only once.
CLAIM = timedelta(seconds=10)


def resolve_expired(
    *, now: datetime, limit: int = 100, only: BookingQuerySet | None = None
) -> list[Booking]:
    """Resolve up to `limit` overdue holds, of all bookings or of `only`. Returns those settled.

    A hold whose resolution raises is logged and left for later, so that the others are still resolved.
    """
    settled = []
    silent = False
    for booking in claim(now=now, limit=limit, only=only):
        if silent and not _given_up(booking, now=now):
            continue  # the gateway is down, so asking again now would only take time
        try:
            resolve(booking, now=now)
        except Exception:
            logger.exception("Booking %s could not be resolved; it is tried again", booking.pk)
            continue
        if booking.status == Booking.Status.PENDING:
            silent = True
        else:
            settled.append(booking)
    return settled


def claim(*, now: datetime, limit: int, only: BookingQuerySet | None = None) -> list[Booking]:
    """Take overdue holds for this resolver. Another one that runs at the same time takes others."""
    bookings = Booking.objects.all() if only is None else only
    due = bookings.expiry_due(now).order_by("hold_expires_at")
    if not due.exists():  # the usual case, answered without a transaction because many may ask
        return []
    with transaction.atomic(durable=True):
        holds = list(due.select_for_update(skip_locked=True, no_key=True)[:limit])
        if holds:
            Booking.objects.filter(pk__in=[hold.pk for hold in holds]).update(
                hold_expires_at=now + CLAIM,
                outcome_unknown=True,  # its own request is no longer at work
            )
    return holds


def resolve(booking: Booking, *, now: datetime) -> Booking:
    # Ask the gateway about one hold and settle it. It stays PENDING if the gateway is silent.
    try:
        outcome = payments.look_up(booking)
    except GatewayUnavailable:
        if _given_up(booking, now=now):
            return settle(booking, Outcome.NOT_FOUND, now=now)
        return booking
    return settle(booking, outcome, now=now)


def _given_up(booking: Booking, *, now: datetime) -> bool:
    return now >= booking.created_at + timedelta(seconds=settings.HOLD_GIVE_UP_SECONDS)
