"""The inbox of webhooks: each event of a gateway is noted once, and marked when it has been handled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from bookings.gateways.base import Event, Outcome
from bookings.models import Booking, PaymentEvent
from ticketbook.postgres.statements import columns, execute, one_round_trip, rows_of


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event that has just come."""

    gateway: str
    event: Event


@dataclass(frozen=True, slots=True)
class Noted:
    """An event that is in the inbox. `booking` is the one it is about, if that is one of its gateway's."""

    booking: Booking | None
    handled: bool  # before


@dataclass(frozen=True, slots=True)
class Handled:
    """An event that has been acted upon."""

    gateway: str
    event_id: str
    found: Outcome | None  # what the gateway answered when it was asked
    alert: str
    now: datetime


NOTE = """
INSERT INTO bookings_paymentevent (gateway, event_id, type, key, claim, found, alert)
SELECT gateway, event_id, type, key, claim, '', alert
FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[])
    AS new (gateway, event_id, type, key, claim, alert)
ORDER BY gateway, event_id -- in one order everywhere, because several batches may bring the same events
ON CONFLICT (gateway, event_id) DO NOTHING
"""

FIND_HANDLED = """
SELECT gateway, event_id FROM bookings_paymentevent
JOIN unnest(%s::text[], %s::text[]) AS wanted (gateway, event_id) USING (gateway, event_id)
WHERE handled_at IS NOT NULL
"""

FIND_BOOKINGS = f"""
SELECT {columns(Booking, "booking")} FROM bookings_booking booking WHERE id = ANY(%s::uuid[])
"""

MARK = """
UPDATE bookings_paymentevent event
SET handled_at = new.at, found = new.found, alert = new.alert
FROM (
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
        AS handled (gateway, event_id, found, alert, at)
    ORDER BY gateway, event_id -- or two batches with the same events could wait for each other
) AS new
WHERE event.gateway = new.gateway AND event.event_id = new.event_id
"""


def note(arrivals: Sequence[Arrived]) -> list[Noted]:
    """Write events into the inbox, those excepted that are there already, and find their bookings."""
    rows = [
        (a.gateway, a.event.id, a.event.type, a.event.key, _word(a.event.claim), a.event.alert)
        for a in arrivals
    ]
    gateways, ids, types, keys, claims, alerts = map(list, zip(*rows, strict=True))
    with transaction.atomic(durable=True), one_round_trip():
        execute(NOTE, [gateways, ids, types, keys, claims, alerts])
        handled = execute(FIND_HANDLED, [gateways, ids])
        bookings = execute(FIND_BOOKINGS, [[key for key in keys if key is not None]])
    before = set(handled.fetchall())
    by_key = {booking.pk: booking for booking in rows_of(Booking, bookings)}
    return [_noted(arrived, by_key, before) for arrived in arrivals]


def _noted(
    arrived: Arrived, bookings: dict[object, Booking], handled: set[tuple[str, str]]
) -> Noted:
    booking = bookings.get(arrived.event.key)
    if booking is not None and booking.gateway != arrived.gateway:
        booking = None
    return Noted(booking, (arrived.gateway, arrived.event.id) in handled)


def mark(handled: Sequence[Handled]) -> None:
    rows = [(h.gateway, h.event_id, _word(h.found), h.alert, h.now) for h in handled]
    if rows:
        execute(MARK, [list(column) for column in zip(*rows, strict=True)])


def _word(outcome: Outcome | None) -> str:
    return outcome.value if outcome is not None else ""


def left_over(before: datetime, *, gateways: Sequence[str]) -> list[tuple[str, Event]]:
    """A hundred events of these gateways that came before this moment and were not handled.

    They are drawn at random, so that events that can never be handled do not keep back all others.
    """
    rows = PaymentEvent.objects.filter(
        handled_at=None, received_at__lt=before, gateway__in=gateways
    )
    return [
        (
            row.gateway,
            Event(
                row.event_id,
                row.type,
                row.key,
                Outcome(row.claim) if row.claim else None,
                row.alert,
            ),
        )
        for row in rows.order_by("?")[:100]
    ]
