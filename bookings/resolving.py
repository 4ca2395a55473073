"""To resolve a hold: ask the gateway about it, then settle it.

For holds left by a crash or a time-out, and for customers who did not pay in time. A payment that the
customer could still make is closed at the gateway first, so that nobody pays for tickets that are gone.

A timer alone never fails a booking, because its payment may have gone through. A hold fails by the gateway's
answer, or if the gateway gives none for HOLD_GIVE_UP_SECONDS. A success that is found after that is refunded.

`poll` asks about payments whose webhook may have been lost, before their time is over.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Greatest
from django.db.models.lookups import GreaterThanOrEqual

from bookings import payments
from bookings.gateways.base import FINAL, Outcome
from bookings.models import Booking, BookingQuerySet
from bookings.settling import settle

logger = logging.getLogger(__name__)

# A claimed hold is left to its claimer for this long. If that is not enough, the gateway is asked twice,
# and the hold is still settled only once.
CLAIM = timedelta(seconds=10)

FIRST_POLL = timedelta(minutes=1)


def resolve_expired(
    *, now: datetime, limit: int = 100, only: BookingQuerySet | None = None
) -> list[Booking]:
    """Resolve up to `limit` overdue holds, of all bookings or of `only`. Returns those settled.

    A hold whose resolution raises is logged and left for later, so that the others are still resolved.
    """
    holds = claim(now=now, limit=limit, only=only)
    # All at once, so that a slow gateway delays a hundred holds no longer than one.
    outcomes = payments.ask_about_all(payments.aclose_payment, holds)
    return _settled(zip(holds, outcomes, strict=True), now=now)


def _settled(answers: Iterable[tuple[Booking, Outcome | None]], *, now: datetime) -> list[Booking]:
    settled = []
    for booking, answer in answers:
        try:
            outcome = answer
            if outcome is None and _given_up(booking, now=now):
                outcome = Outcome.NOT_FOUND
            if outcome is not None and outcome is not Outcome.OPEN:
                settled.append(settle(booking, outcome, now=now))
        except Exception:
            logger.exception("Booking %s could not be resolved; it is tried again", booking.pk)
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


def _given_up(booking: Booking, *, now: datetime) -> bool:
    since = booking.created_at
    if booking.action_url:
        since += payments.hold_length(booking.gateway)
    return now >= since + timedelta(seconds=settings.HOLD_GIVE_UP_SECONDS)


def poll(*, now: datetime, limit: int = 500) -> list[Booking]:
    """Ask about up to `limit` payments that customers should have made by now. Returns those settled.

    A payment is asked about a minute after its booking, and then each time when its age has doubled.
    """
    waiting = Booking.objects.pending().filter(hold_expires_at__gt=now).exclude(action_url="")
    age, unasked = Value(now) - F("created_at"), Value(now) - F("updated_at")
    due = waiting.filter(
        GreaterThanOrEqual(
            unasked, Greatest(Value(FIRST_POLL), ExpressionWrapper(age / 2, DurationField()))
        )
    ).order_by("updated_at")
    with transaction.atomic(durable=True):
        holds = list(due.select_for_update(skip_locked=True, no_key=True)[:limit])
        Booking.objects.filter(pk__in=[hold.pk for hold in holds]).update(updated_at=now)
    outcomes = payments.ask_about_all(payments.alook_up, holds)
    answers = [
        (hold, outcome) for hold, outcome in zip(holds, outcomes, strict=True) if outcome in FINAL
    ]
    return _settled(answers, now=now)
