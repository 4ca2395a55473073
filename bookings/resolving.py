"""To resolve: ask the gateway about holds that nobody settled (a crash, a time-out), then settle.

A timer alone never fails a booking: only the gateway's word does, or a silence past a second, longer
limit, and a success that comes to light after that is refunded.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from bookings import payments
from bookings.models import Booking
from bookings.settling import fail, settle

# A hold that somebody asks the gateway about is left alone by others for this long.
CLAIM = timedelta(seconds=10)


def resolve_expired(
    *, now: datetime, limit: int = 100, ticket_tier_id: UUID | None = None
) -> list[Booking]:
    """Resolve up to `limit` holds past their time, of one tier or of all; returns those settled."""
    settled = []
    silent = False
    for booking in claim(now=now, limit=limit, ticket_tier_id=ticket_tier_id):
        if silent and not given_up(booking, now=now):
            continue  # the gateway is down; these have time, and come again
        resolve(booking, now=now)
        if booking.status == Booking.Status.PENDING:
            silent = True
        else:
            settled.append(booking)
    return settled


def claim(*, now: datetime, limit: int, ticket_tier_id: UUID | None = None) -> list[Booking]:
    """Take expired holds for ourselves, so that two resolvers share the work instead of doubling it."""
    due = Booking.objects.expiry_due(now).order_by("hold_expires_at")
    if ticket_tier_id is not None:
        due = due.filter(ticket_tier_id=ticket_tier_id)
    if not due.exists():  # the usual case, and many may ask: answer it without a transaction
        return []
    with transaction.atomic(durable=True):
        holds = list(due.select_for_update(skip_locked=True, no_key=True)[:limit])
        if holds:
            Booking.objects.filter(pk__in=[hold.pk for hold in holds]).update(
                hold_expires_at=now + CLAIM
            )
    return holds


def resolve(booking: Booking, *, now: datetime) -> Booking:
    """Ask the gateway about one hold and settle it. PENDING afterwards: the gateway is silent."""
    try:
        outcome = payments.look_up(booking)
    except payments.GatewayUnavailable:
        if given_up(booking, now=now):
            return fail(booking, Booking.FailureReason.EXPIRED, now=now)
        return booking
    return settle(booking, outcome, now=now)


def given_up(booking: Booking, *, now: datetime) -> bool:
    return now >= booking.created_at + timedelta(seconds=settings.HOLD_GIVE_UP_SECONDS)
