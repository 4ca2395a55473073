"""What calling off a concert means for its bookings: nobody keeps one, and nobody's money stays.

| a booking that is | becomes |
|---|---|
| CONFIRMED | CANCELLED in the transaction that calls the concert off; its money is due in it |
| PENDING, paid later | CANCELLED when its payment is settled (`cancel_paid`); its money is due |
| PENDING, not paid | FAILED, as always; a payment page is closed at once |
| FAILED, paid later | FAILED; its late money is due, as always |

Confirmations take no lock of the tier (bookings/settling.py). So a PENDING booking carries a mark,
`called_off`, and its settlement looks at the row that it locks anyway.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from accounts.models import User
from bookings import mails
from bookings.cancelling import give_back
from bookings.gateways.named import CASH
from bookings.jobs import defer_for_concert
from bookings.models import Booking, Refund
from bookings.refunding import lock_booking
from concerts import stock
from concerts.calling_off import call_off
from concerts.models import Concert, TicketTier
from ticketbook.postgres.statements import execute
from ticketbook.templatetags.money import money

# A request may be at work on a hold; one that nobody works on is due for the resolver, which closes its
# payment.
MARK_PENDING = """
UPDATE bookings_booking booking
SET called_off = true, updated_at = %(now)s,
    hold_expires_at = CASE WHEN outcome_unknown THEN %(now)s ELSE hold_expires_at END
FROM (
    SELECT id FROM bookings_booking
    WHERE ticket_tier_id = ANY(%(tiers)s::uuid[]) AND status = 'PENDING' AND NOT called_off
    ORDER BY id FOR NO KEY UPDATE
) AS pending
WHERE booking.id = pending.id
"""

CANCEL_CONFIRMED = """
WITH ended AS (
    UPDATE bookings_booking booking
    SET status = 'CANCELLED', called_off = true, returned_quantity = quantity,
        refunded_total = total_price, updated_at = %(now)s,
        payment_status = CASE WHEN total_price = 0 THEN 'REFUNDED' ELSE payment_status END
    FROM (
        SELECT id, quantity - returned_quantity AS tickets, total_price - refunded_total AS amount,
            CASE WHEN returned_quantity = 0 AND refunded_total = 0 THEN updated_at END AS paid_at
        FROM bookings_booking
        WHERE ticket_tier_id = ANY(%(tiers)s::uuid[]) AND status = 'CONFIRMED'
        ORDER BY id FOR NO KEY UPDATE
    ) AS kept
    WHERE booking.id = kept.id
    RETURNING booking.id, ticket_tier_id, kept.tickets, kept.amount, kept.paid_at,
        gateway = %(cash)s AS in_cash
), owed AS (
    INSERT INTO bookings_refund (booking_id, amount, tickets, reason, made_by_id, note, created_at)
    SELECT id, amount, tickets, 'CALLED_OFF', %(by)s, %(note)s, %(now)s FROM ended WHERE amount > 0
    RETURNING id, booking_id
), returned AS (
    INSERT INTO bookings_return (booking_id, tickets, refund_id, made_by_id, note, paid_at, created_at)
    SELECT ended.id, tickets, owed.id, %(by)s, %(note)s, paid_at, %(now)s
    FROM ended LEFT JOIN owed ON booking_id = ended.id
)
SELECT ticket_tier_id, sum(tickets), count(*),
    coalesce(sum(amount) FILTER (WHERE NOT in_cash), 0),
    coalesce(sum(amount) FILTER (WHERE in_cash), 0)
FROM ended GROUP BY ticket_tier_id
"""


def cancel_all(
    *,
    concert: Concert,
    tiers: Sequence[TicketTier],
    by: User | None,
    note: str,
    now: datetime,
    **kwargs: Any,
) -> str:
    """Cancel all bookings of a concert, in the transaction that calls it off and has locked its tiers."""
    by_id = by.pk if by is not None else None
    facts = {
        "tiers": [tier.pk for tier in tiers],
        "by": by_id,
        "note": note,
        "now": now,
        "cash": CASH,
    }
    # First the holds: a settlement that is being written is waited for, and those after it see the mark.
    pending = execute(MARK_PENDING, facts).rowcount
    ended = execute(CANCEL_CONFIRMED, facts).fetchall()
    by_key = {tier.pk: tier for tier in tiers}
    for tier_id, tickets, *_ in ended:
        stock.give_back(by_key[tier_id], tickets, now=now)
    bookings = sum(count for _, _, count, _, _ in ended)
    owed = sum((amount for *_, amount, _ in ended), Decimal(0))
    cash = sum((amount for *_, amount in ended), Decimal(0))
    if bookings:
        told = Booking.objects.filter(
            ticket_tier__in=tiers, called_off=True, status=Booking.Status.CANCELLED, updated_at=now
        )
        mails.tell_called_off(told.select_related("user"))
    if owed or cash:
        defer_for_concert("send_refunds_of_concert", concert)
    return _sentence(bookings, owed, cash, pending)


def _sentence(bookings: int, owed: Decimal, cash: Decimal, pending: int) -> str:
    if bookings:
        were = "booking was" if bookings == 1 else "bookings were"
        said = f"{bookings:,} {were} cancelled, and {money(owed)} is on its way back."
    else:
        said = "No booking had to be cancelled."
    if cash:
        said += f" {money(cash)} was paid in cash: hand it over."
    if pending:
        holds = "1 more waits" if pending == 1 else f"{pending:,} more wait"
        said += f" {holds} for a payment; if it comes, it goes back too."
    return said


def has_bookings(*, concert: Concert, **kwargs: Any) -> bool:
    return Booking.objects.filter(ticket_tier__concert=concert).exists()


def cancel_paid(booking: Booking, *, now: datetime) -> None:
    """A hold was paid after its concert had been called off: cancel it, and owe its money."""
    with transaction.atomic(durable=True):
        booking.ticket_tier = stock.lock_tier(booking.ticket_tier_id)  # before the booking, always
        lock_booking(booking)
        if booking.status == Booking.Status.PENDING and booking.called_off:
            Booking.objects.filter(pk=booking.pk).update(
                status=Booking.Status.CONFIRMED,
                payment_status=Booking.PaymentStatus.SUCCESS,
                outcome_unknown=False,
            )
            give_back(
                booking,
                booking.quantity,
                booking.total_price,
                reason=Refund.Reason.CALLED_OFF,
                now=now,
            )
    booking.refresh_state()


def finish(*, now: datetime) -> None:
    """Cancel what is still booked for concerts that were called off by other means than `call_off`."""
    bookings = Booking.objects.filter(
        Q(status=Booking.Status.CONFIRMED) | Q(status=Booking.Status.PENDING, called_off=False),
        ticket_tier__concert=OuterRef("pk"),
    )
    concerts = Concert.objects.filter(Exists(bookings), status=Concert.Status.CANCELLED)
    for pk in concerts.order_by().values_list("pk", flat=True):
        call_off(pk, by=None, now=now)
