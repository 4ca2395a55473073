"""To resolve: ask the gateway about holds that nobody settled (a crash, a time-out), then settle.

A timer alone never fails a booking: only the gateway's word does, or a silence past a second, longer
limit, and a success that comes to light after that is refunded.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from bookings import payments
from bookings.models import Booking, BookingQuerySet
from bookings.payments import Outcome
from bookings.settling import settle

logger = logging.getLogger(__name__)

# A hold that somebody asks the gateway about is left alone by others for this long. Should that not
# be enough, the gateway is asked twice and the hold is settled once all the same.
CLAIM = timedelta(seconds=10)


def resolve_expired(
    *, now: datetime, limit: int = 100, only: BookingQuerySet | None = None
) -> list[Booking]:
    """Resolve up to `limit` holds past their time, of all or of `only`; returns those settled.

    One that fails is logged and left for later: it must not stand in the way of the others.
    """
    settled = []
    silent = False
    for booking in claim(now=now, limit=limit, only=only):
        if silent and not given_up(booking, now=now):
            continue  # the gateway is down; these have time, and come again
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
    """Take expired holds for ourselves, so that two resolvers share the work instead of doubling it."""
    bookings = Booking.objects.all() if only is None else only
    due = bookings.expiry_due(now).order_by("hold_expires_at")
    if not due.exists():  # the usual case, and many may ask: answer it without a transaction
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
    """Ask the gateway about one hold and settle it. PENDING afterwards: the gateway is silent."""
    try:
        outcome = payments.look_up(booking)
    except payments.GatewayUnavailable:
        if given_up(booking, now=now):
            return settle(booking, Outcome.NOT_FOUND, now=now)
        return booking
    return settle(booking, outcome, now=now)


def given_up(booking: Booking, *, now: datetime) -> bool:
    return now >= booking.created_at + timedelta(seconds=settings.HOLD_GIVE_UP_SECONDS)
