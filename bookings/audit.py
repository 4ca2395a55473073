"""Compares the counters of tiers with their bookings. It only reads, and may run on a live system.

It also checks the rules of each booking, because somebody may have dropped a constraint for an import and
forgotten to put it back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import CheckConstraint, Count, F, QuerySet, Sum

from accounts.models import User
from bookings.guests import wrong_slips
from bookings.models import HOLDS_TICKETS, MAX_QUANTITY, Booking
from concerts.models import TicketTier

# What the apps above check, in the same snapshot: each yields a sentence for each difference.
also_checked: list[Callable[[], Iterator[str]]] = []

# Tiers in one step. A step reads one range of the index booking_tier_status.
BATCH = 500


@dataclass
class Tally:
    """What an audit has counted so far. Its str() is the closing line."""

    tiers: int = 0
    bookings: int = 0
    differences: int = 0

    def __str__(self) -> str:
        if self.differences:
            return f"{many(self.differences, 'difference')}."
        return f"{many(self.tiers, 'tier')} and {many(self.bookings, 'booking')}: no difference."


def audit() -> list[str]:
    """A sentence for each difference; an empty list if there is none."""
    return list(differences(Tally()))


def differences(
    tally: Tally, progress: Callable[[int], object] = lambda tiers: None
) -> Iterator[str]:
    """Yield a sentence for each difference. Calls `progress` with the number of tiers of each step."""
    with _one_snapshot():
        for find in (
            _wrong_stock(tally, progress),
            _wrong_bookings(),
            _wrong_returns(),
            _wrong_refunds(),
            _kept_after_calling_off(),
            _keys_used_twice(),
            wrong_slips(),
            *(check() for check in also_checked),
        ):
            for sentence in find:
                tally.differences += 1
                yield sentence


@contextmanager
def _one_snapshot() -> Iterator[None]:
    # All queries see the database as it was at one moment, whatever is booked meanwhile.
    outermost = not connection.in_atomic_block  # inside a test, a transaction is already open
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def stock_after(tier_id: UUID | None) -> QuerySet[TicketTier, Any]:
    """(id, capacity, kept back, available) of up to BATCH tiers behind this one; None is the start."""
    tiers = TicketTier.objects.order_by("pk")
    if tier_id:
        tiers = tiers.filter(pk__gt=tier_id)
    return tiers.values_list("pk", "total_quantity", "kept_back", "available_quantity")[:BATCH]


def holdings(after: UUID | None, upto: UUID | None) -> QuerySet[Booking, Any]:
    """(tier, number of its bookings, tickets that they hold) of a range of tiers.

    `after` is excluded and `upto` included; None leaves that end open.
    """
    # An index-only scan of booking_tier_status.
    bookings = Booking.objects.order_by()
    if after:
        bookings = bookings.filter(ticket_tier_id__gt=after)
    if upto:
        bookings = bookings.filter(ticket_tier_id__lte=upto)
    kept = F("quantity") - F("returned_quantity")
    return bookings.values_list("ticket_tier_id").annotate(
        bookings=Count("*"), held=Sum(kept, filter=HOLDS_TICKETS, default=0)
    )


def _wrong_stock(tally: Tally, progress: Callable[[int], object]) -> Iterator[str]:
    # The ranges leave no gap, so bookings of a tier that does not exist are found too.
    after, more = None, True
    while more:
        tiers = list(stock_after(after))
        more = len(tiers) == BATCH
        upto = tiers[-1][0] if more else None
        held = {}
        for tier_id, bookings, tickets in holdings(after, upto):
            tally.bookings += bookings
            held[tier_id] = tickets
        for tier_id, total, kept_back, available in tiers:
            yield from _compare(tier_id, total - kept_back, available, held.pop(tier_id, 0))
        for tier_id, tickets in held.items():
            yield f"{name_of(tier_id)}: its bookings hold {many(tickets, 'ticket')}."
        tally.tiers += len(tiers)
        progress(len(tiers))
        after = upto


def _compare(tier_id: UUID, for_sale: int, available: int, held: int) -> Iterator[str]:
    out = for_sale - available
    if out != held:
        are = "ticket is" if out == 1 else "tickets are"
        yield f"{name_of(tier_id)}: {out:,} {are} out of stock, but its bookings hold {held:,}."
    if held > for_sale:
        # The counters may agree with the bookings and still be below zero.
        yield f"{name_of(tier_id)}: oversold, its bookings hold {held:,} of {many(for_sale, 'ticket')}."


def _wrong_bookings() -> Iterator[str]:
    # The rules come from the model's constraints, and one pass over the table checks all of them.
    rules = {
        str(constraint.name): constraint.condition
        for constraint in Booking._meta.constraints
        if isinstance(constraint, CheckConstraint) and constraint.name in BROKEN
    }
    kept = Booking.objects.annotate(**rules)
    for booking in kept.exclude(**dict.fromkeys(rules, True)).order_by("pk").iterator():
        for rule in rules:
            if not getattr(booking, rule):
                tier = name_of(booking.ticket_tier_id)
                yield f"Booking {booking.pk}, {tier}: {BROKEN[rule](booking)}."


def _bad_quantity(booking: Booking) -> str:
    return f"its quantity is {booking.quantity}, not 1 to {MAX_QUANTITY}"


def _bad_price(booking: Booking) -> str:
    return f"its unit price is {booking.unit_price}"


def _bad_total(booking: Booking) -> str:
    right = booking.quantity * booking.unit_price
    return (
        f"its total price is {booking.total_price}, "
        f"but {booking.quantity} × {booking.unit_price} is {right}"
    )


def _bad_status(booking: Booking) -> str:
    reason = booking.failure_reason or "none"
    return (
        f"status {booking.status}, payment status {booking.payment_status} "
        f"and failure reason {reason} do not go together"
    )


def _bad_returned(booking: Booking) -> str:
    return (
        f"{booking.returned_quantity} of its {booking.quantity} tickets were returned, "
        f"and its status is {booking.status}"
    )


def _bad_refunded(booking: Booking) -> str:
    return (
        f"{booking.refunded_total} of its {booking.total_price} were refunded, "
        f"and its payment status is {booking.payment_status}"
    )


def _bad_gateway(booking: Booking) -> str:
    return "it names no payment gateway"


def _bad_source(booking: Booking) -> str:
    return f"its source is {booking.source}"


# What to say about a booking that breaks the constraint.
BROKEN: dict[str, Callable[[Booking], str]] = {
    "booking_quantity_range": _bad_quantity,
    "booking_price_not_negative": _bad_price,
    "booking_total_is_unit_times_quantity": _bad_total,
    "booking_status_pair_allowed": _bad_status,
    "booking_returned_range": _bad_returned,
    "booking_status_returned": _bad_returned,
    "booking_refunded_range": _bad_refunded,
    "booking_status_refunded": _bad_refunded,
    "booking_gateway_named": _bad_gateway,
    "booking_source_known": _bad_source,
}


# Bookings whose returned tickets are not those of its Return rows.
WRONG_RETURNS = """
SELECT booking.id, ticket_tier_id, returned_quantity, coalesce(tickets, 0)
FROM bookings_booking booking
LEFT JOIN (
    SELECT booking_id, sum(tickets) AS tickets FROM bookings_return GROUP BY booking_id
) AS made ON booking_id = booking.id
WHERE returned_quantity <> coalesce(tickets, 0)
ORDER BY booking.id
"""

# Bookings whose refunds are not those of its Refund rows, that are REFUNDED before all was sent, or whose
# late money nobody owes.
WRONG_REFUNDS = """
SELECT booking.id, ticket_tier_id, refunded_total, coalesce(owed, 0), coalesce(sent, 0), payment_status
FROM bookings_booking booking
LEFT JOIN (
    SELECT booking_id, sum(amount) AS owed, sum(amount) FILTER (WHERE status = 'SENT') AS sent
    FROM bookings_refund GROUP BY booking_id
) AS made ON booking_id = booking.id
WHERE refunded_total <> coalesce(owed, 0)
   OR booking.status = 'FAILED' AND payment_status IN ('SUCCESS', 'REFUNDED')
      AND refunded_total <> total_price
   OR total_price > 0 AND (payment_status = 'REFUNDED') <> (coalesce(sent, 0) = total_price)
ORDER BY booking.id
"""

# Bookings of a concert that was called off, which are confirmed, or will be when their payment is known.
KEPT_AFTER_CALLING_OFF = """
SELECT booking.id, ticket_tier_id
FROM concerts_concert concert
JOIN concerts_tickettier tier ON tier.concert_id = concert.id
JOIN bookings_booking booking ON ticket_tier_id = tier.id
WHERE concert.status = 'CANCELLED'
    AND (booking.status = 'CONFIRMED' OR booking.status = 'PENDING' AND NOT called_off)
ORDER BY booking.id
"""


def _wrong_returns() -> Iterator[str]:
    for pk, tier_id, says, returned in rows_of(WRONG_RETURNS):
        yield (
            f"Booking {pk}, {name_of(tier_id)}: it says that {many(says, 'ticket')} went back, "
            f"but its returns are {returned}."
        )


def _wrong_refunds() -> Iterator[str]:
    for pk, tier_id, says, owed, sent, payment_status in rows_of(WRONG_REFUNDS):
        yield (
            f"Booking {pk}, {name_of(tier_id)}: it says that {says} went back, but its refunds are "
            f"{owed}, {sent} of them sent, and its payment status is {payment_status}."
        )


def _kept_after_calling_off() -> Iterator[str]:
    for pk, tier_id in rows_of(KEPT_AFTER_CALLING_OFF):
        yield f"Booking {pk}, {name_of(tier_id)}: it is kept, but the concert was called off."


def rows_of(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _keys_used_twice() -> Iterator[str]:
    keys = Booking.objects.order_by().values_list("user_id", "idempotency_key")
    for user_id, key, uses in keys.annotate(uses=Count("*")).filter(uses__gt=1):
        bookings = Booking.objects.filter(user_id=user_id, idempotency_key=key).order_by("pk")
        ids = ", ".join(str(pk) for pk in bookings.values_list("pk", flat=True))
        user = User.objects.filter(pk=user_id).first() or "A customer who does not exist"
        yield f"{user} ({user_id}) has {uses:,} bookings under one idempotency key, {key}: {ids}."


def name_of(tier_id: UUID) -> str:
    # The name of a tier is read only when a difference has to be reported.
    tier = TicketTier.objects.select_related("concert").filter(pk=tier_id).first()
    if tier is None:
        return f"A tier that does not exist ({tier_id})"
    return f"{tier.get_tier_type_display()} of “{tier.concert.name}” ({tier_id})"


def many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
