"""Do the counters say what the bookings say? It only reads, at one moment, on a live system too.

The rules of a booking are checked here again, whatever constraints the table still has: an operator
may have dropped one for an import and forgotten it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import CheckConstraint, Count, QuerySet, Sum

from accounts.models import User
from bookings.models import HOLDS_TICKETS, MAX_QUANTITY, Booking
from concerts.models import TicketTier

# Tiers of one step: a step reads one range of booking_tier_status, and moves the progress bar.
BATCH = 500


@dataclass
class Tally:
    """What an audit has seen so far; its str() is the closing line."""

    tiers: int = 0
    bookings: int = 0
    differences: int = 0

    def __str__(self) -> str:
        if self.differences:
            return f"{_many(self.differences, 'difference')}."
        return f"{_many(self.tiers, 'tier')} and {_many(self.bookings, 'booking')}: no difference."


def audit() -> list[str]:
    """Every difference, as a sentence; an empty list is a clean audit."""
    return list(differences(Tally()))


def differences(
    tally: Tally, progress: Callable[[int], object] = lambda tiers: None
) -> Iterator[str]:
    """Find the differences one by one, counting in `tally`; `progress` hears of each step's tiers."""
    with _one_snapshot():
        for find in (_wrong_stock(tally, progress), _wrong_bookings(), _keys_used_twice()):
            for sentence in find:
                tally.differences += 1
                yield sentence


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """Bookings made meanwhile stay out of snapshot, so that tiers and bookings are of one moment."""
    outermost = not connection.in_atomic_block  # a test's transaction has its snapshot already
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def stock_after(tier_id: UUID | None) -> QuerySet[TicketTier, Any]:
    """(id, capacity, available) of the step of tiers after this one; None for the first step."""
    tiers = TicketTier.objects.order_by("pk")
    if tier_id:
        tiers = tiers.filter(pk__gt=tier_id)
    return tiers.values_list("pk", "total_quantity", "available_quantity")[:BATCH]


def holdings(after: UUID | None, upto: UUID | None) -> QuerySet[Booking, Any]:
    """(tier, its bookings, tickets they hold) of a range of tiers; None for an open end.

    It needs no more than booking_tier_status has: an index-only scan.
    """
    bookings = Booking.objects.order_by()
    if after:
        bookings = bookings.filter(ticket_tier_id__gt=after)
    if upto:
        bookings = bookings.filter(ticket_tier_id__lte=upto)
    return bookings.values_list("ticket_tier_id").annotate(
        bookings=Count("*"), tickets=Sum("quantity", filter=HOLDS_TICKETS, default=0)
    )


def _wrong_stock(tally: Tally, progress: Callable[[int], object]) -> Iterator[str]:
    """Promise 1, for every tier. The ranges leave no gap, so bookings without a tier show too."""
    after, more = None, True
    while more:
        tiers = list(stock_after(after))
        more = len(tiers) == BATCH
        upto = tiers[-1][0] if more else None
        held = {}
        for tier_id, bookings, tickets in holdings(after, upto):
            tally.bookings += bookings
            held[tier_id] = tickets
        for tier_id, total, available in tiers:
            yield from _compare(tier_id, total, available, held.pop(tier_id, 0))
        for tier_id, tickets in held.items():
            yield f"{_name(tier_id)}: its bookings hold {_many(tickets, 'ticket')}."
        tally.tiers += len(tiers)
        progress(len(tiers))
        after = upto


def _compare(tier_id: UUID, total: int, available: int, held: int) -> Iterator[str]:
    out = total - available
    if out != held:
        are = "ticket is" if out == 1 else "tickets are"
        yield f"{_name(tier_id)}: {out:,} {are} out of stock, but its bookings hold {held:,}."
    if held > total:
        # The counters may agree on it, below zero.
        yield f"{_name(tier_id)}: oversold, its bookings hold {held:,} of {_many(total, 'ticket')}."


def _wrong_bookings() -> Iterator[str]:
    """The rules of one row, read from the model: all of them in one pass over the table."""
    rules = {
        str(constraint.name): constraint.condition
        for constraint in Booking._meta.constraints
        if isinstance(constraint, CheckConstraint) and constraint.name in BROKEN
    }
    kept = Booking.objects.annotate(**rules)
    for booking in kept.exclude(**dict.fromkeys(rules, True)).order_by("pk").iterator():
        for rule in rules:
            if not getattr(booking, rule):
                tier = _name(booking.ticket_tier_id)
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


# What to say of a booking that breaks the constraint.
BROKEN: dict[str, Callable[[Booking], str]] = {
    "booking_quantity_range": _bad_quantity,
    "booking_price_not_negative": _bad_price,
    "booking_total_is_unit_times_quantity": _bad_total,
    "booking_status_pair_allowed": _bad_status,
}


def _keys_used_twice() -> Iterator[str]:
    keys = Booking.objects.order_by().values_list("user_id", "idempotency_key")
    for user_id, key, uses in keys.annotate(uses=Count("*")).filter(uses__gt=1):
        bookings = Booking.objects.filter(user_id=user_id, idempotency_key=key).order_by("pk")
        ids = ", ".join(str(pk) for pk in bookings.values_list("pk", flat=True))
        user = User.objects.filter(pk=user_id).first() or "A customer who does not exist"
        yield f"{user} ({user_id}) has {uses:,} bookings under one idempotency key, {key}: {ids}."


def _name(tier_id: UUID) -> str:
    """Asked for what differs only, so that the walk reads nothing but numbers."""
    tier = TicketTier.objects.select_related("concert").filter(pk=tier_id).first()
    if tier is None:
        return f"A tier that does not exist ({tier_id})"
    return f"{tier.get_tier_type_display()} of “{tier.concert.name}” ({tier_id})"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
