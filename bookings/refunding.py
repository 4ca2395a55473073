"""To send money back. Every amount that we owe is a row, made in the transaction that owes it.

| what owes it | reason |
|---|---|
| a booking is cancelled | CANCELLED |
| some of its tickets are returned | PART |
| its concert is called off (bookings/calling_off.py) | CALLED_OFF |
| its money came after its tickets had gone back | LATE |
| staff give money back, and the customer keeps the tickets | GOODWILL |

`owe` makes the row and defers a job. `send_refunds` sends what is due for a booking, at once or in that job.
`send_together` sends refunds of many bookings, for a concert that was called off. Cash is sent by nobody: it
stays due until staff say that they handed it over (`hand_over_cash`).
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import OperationalError, transaction
from django.db.models import F

from accounts.models import User
from bookings import mails, payments
from bookings.errors import (
    ChangedMeanwhile,
    NoCashDue,
    NothingToRefund,
    RefundNotExact,
    RefundTooLarge,
)
from bookings.gateways.base import GatewayUnavailable, RefundRefused
from bookings.jobs import defer
from bookings.models import Booking, Refund
from ticketbook.amounts import is_exact, plain
from ticketbook.postgres.failures import is_busy
from ticketbook.templatetags.money import money

logger = logging.getLogger(__name__)


def lock_booking(booking: Booking) -> None:
    """Lock a booking's row until the transaction ends, and read anew its state and whose it is.

    Call it after the tier's lock, if both are needed.
    """
    row = Booking.objects.select_for_update(no_key=True).only("user_id").get(pk=booking.pk)
    if row.user_id != booking.user_id:
        booking.user = row.user
    booking.refresh_state()


def owe(
    booking: Booking,
    amount: Decimal,
    reason: Refund.Reason,
    *,
    tickets: int = 0,
    by: User | None = None,
    note: str = "",
    now: datetime,
) -> Refund:
    """Write down that we owe money, in the caller's transaction, which has locked the booking.

    A sum of refunds above the price raises IntegrityError (booking_refunded_range).
    """
    Booking.objects.filter(pk=booking.pk).update(
        refunded_total=F("refunded_total") + amount, updated_at=now
    )
    refund = Refund.objects.create(
        booking=booking,
        amount=amount,
        tickets=tickets,
        reason=reason,
        made_by=by,
        note=note,
        paid_at=booking.paid_and_untouched_at,
        created_at=now,
    )
    defer("refund_booking", booking)
    return refund


def check_seen(booking: Booking, seen: str | None) -> None:
    """Raises ChangedMeanwhile if staff were shown another state (`Booking.as_seen`) of the locked booking."""
    if seen is not None and seen != booking.as_seen:
        raise ChangedMeanwhile


def give_money_back(
    booking: Booking,
    amount: Decimal,
    *,
    seen: str | None = None,
    by: User,
    note: str,
    now: datetime,
) -> Refund:
    """Goodwill: the customer gets money back and keeps the tickets. `by` is staff, and `note` says why.

    `seen` is what they were shown (`Booking.as_seen`). Raises NothingToRefund if the booking was not paid,
    RefundTooLarge (`refundable`), RefundNotExact, and ChangedMeanwhile.
    """
    with transaction.atomic(durable=True):
        lock_booking(booking)
        check_seen(booking, seen)
        check_refundable(booking, amount)
        refund = owe(booking, amount, Refund.Reason.GOODWILL, by=by, note=note, now=now)
        mails.tell_refunded(refund)
    try_to_send(booking, now=now)
    refund.refresh_from_db()
    return refund


def check_refundable(booking: Booking, amount: Decimal) -> None:
    if booking.payment_status != Booking.PaymentStatus.SUCCESS or not booking.refundable:
        raise NothingToRefund
    if not is_exact(amount):
        raise RefundNotExact
    if not 0 < amount <= booking.refundable:
        raise RefundTooLarge(refundable=plain(booking.refundable))


def try_to_send(booking: Booking, *, now: datetime) -> None:
    """Send what is due, without waiting for the job.

    If the gateway does not answer or the booking is busy, the job does it. What is owed is committed by now,
    so nobody may be told that nothing has changed.
    """
    try:
        send_refunds(booking, now=now)
    except (GatewayUnavailable, OperationalError) as exc:
        if isinstance(exc, OperationalError) and not is_busy(exc):
            raise
        booking.refresh_state()


def send_refunds(booking: Booking, *, now: datetime) -> None:
    """Send all refunds of a booking that are due. Raises GatewayUnavailable.

    Two that send the same refund at once do no harm: the gateway knows it by its id.
    """
    for refund in booking.refunds.due().order_by("id"):
        try:
            payments.refund(booking, refund)
        except RefundRefused as exc:
            _write_refused(booking, refund, exc, now=now)
        else:
            _write_sent(booking, refund, now=now)
    booking.refresh_state()


def send_together(refunds: Sequence[Refund], *, now: datetime) -> int:
    """Send refunds of several bookings at once. Returns how many of them the gateway left unanswered."""
    unanswered = 0
    for refund, error in zip(refunds, payments.refund_all(refunds), strict=True):
        if error is None:
            _write_sent(refund.booking, refund, now=now)
        elif isinstance(error, RefundRefused):
            _write_refused(refund.booking, refund, error, now=now)
        else:
            unanswered += 1
            if not isinstance(error, GatewayUnavailable):
                logger.error("Refund %s could not be sent", refund.pk, exc_info=error)
    return unanswered


def _write_refused(
    booking: Booking, refund: Refund, refusal: RefundRefused, *, now: datetime
) -> None:
    logger.error("Refund %s of booking %s was refused: %s", refund.pk, booking.pk, refusal)
    _write(booking, refund, now=now, status=Refund.Status.FAILED, failure=str(refusal)[:1000])


def _write_sent(booking: Booking, refund: Refund, *, now: datetime) -> None:
    _write(booking, refund, now=now, status=Refund.Status.SENT, sent_at=now, failure="")


def _write(booking: Booking, refund: Refund, *, now: datetime, **state: object) -> None:
    with transaction.atomic(durable=True):
        # Under the booking's lock, so that whoever sends the last refund sees that all others were sent.
        lock_booking(booking)
        if Refund.objects.filter(pk=refund.pk, status=Refund.Status.DUE).update(**state):
            _note_if_all_is_back(booking, now=now)


def _note_if_all_is_back(booking: Booking, *, now: datetime) -> None:
    if not booking.refundable and not booking.refunds.open().exists():
        Booking.objects.filter(pk=booking.pk).update(
            payment_status=Booking.PaymentStatus.REFUNDED, updated_at=now
        )


def hand_over_cash(
    booking: Booking, *, seen: str | None = None, by: User, now: datetime
) -> Decimal:
    """Staff have handed over all cash that is due for a booking. Returns how much that is.

    The booking's history says who did it. `seen` is what they were shown (`Booking.as_seen`). Raises
    NoCashDue and ChangedMeanwhile.
    """
    with transaction.atomic(durable=True):
        lock_booking(booking)
        due = list(booking.refunds.to_hand_over())
        if not due:
            raise NoCashDue
        check_seen(booking, seen)
        Refund.objects.filter(pk__in=[refund.pk for refund in due]).update(
            status=Refund.Status.SENT, sent_at=now
        )
        amount = sum((refund.amount for refund in due), Decimal(0))
        said = f"Handed over {money(amount)} in cash"
        LogEntry.objects.log_actions(by.pk, [booking], CHANGE, said, single_object=True)
        _note_if_all_is_back(booking, now=now)
    booking.refresh_state()
    return amount


def send_again(refund: Refund, *, by: User, note: str = "") -> bool:
    """Make a refused refund due again, for a job. Returns False if it is not refused any more.

    Its history in the admin says who did it and why.
    """
    with transaction.atomic(durable=True):
        failed = Refund.objects.filter(pk=refund.pk, status=Refund.Status.FAILED)
        again = bool(failed.update(status=Refund.Status.DUE))
        if again:
            message = f"Made due again: {note}" if note else "Made due again"
            LogEntry.objects.log_actions(by.pk, [refund], CHANGE, message, single_object=True)
            defer("refund_booking", refund.booking)
    return again
