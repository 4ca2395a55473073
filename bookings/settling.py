"""To settle: write down what the payment gateway answered. Each change happens once, whoever races."""

from datetime import datetime

from django.db import transaction

from bookings.jobs import defer
from bookings.models import Booking
from bookings.payments import Outcome
from concerts import stock

Status, PaymentStatus, FailureReason = Booking.Status, Booking.PaymentStatus, Booking.FailureReason


def settle(booking: Booking, outcome: Outcome, *, now: datetime) -> Booking:
    """Confirm a paid hold; fail one that was declined, or of which the gateway knows no charge."""
    if outcome is Outcome.SUCCEEDED:
        return confirm(booking, now=now)
    if outcome is Outcome.DECLINED:
        return fail(booking, FailureReason.DECLINED, now=now)
    return fail(booking, FailureReason.EXPIRED, now=now)


def confirm(booking: Booking, *, now: datetime) -> Booking:
    """PENDING becomes CONFIRMED. Money that came after the tickets went back is sent back too."""
    with transaction.atomic(durable=True):
        row = Booking.objects.filter(pk=booking.pk)
        in_time = row.pending().update(
            status=Status.CONFIRMED, payment_status=PaymentStatus.SUCCESS, updated_at=now
        )
        too_late = not in_time and row.filter(
            status=Status.FAILED,
            payment_status=PaymentStatus.FAILED,
            failure_reason=FailureReason.EXPIRED,
        ).update(payment_status=PaymentStatus.SUCCESS, updated_at=now)
        if too_late:
            defer("refund_booking", booking)
    booking.refresh_state()
    return booking


def fail(booking: Booking, reason: Booking.FailureReason, *, now: datetime) -> Booking:
    """PENDING becomes FAILED and the tickets return, in one transaction and once."""
    with transaction.atomic(durable=True):
        tier = stock.lock_tier(booking.ticket_tier_id)  # the tier before the booking, always
        if (
            Booking.objects.pending()
            .filter(pk=booking.pk)
            .update(
                status=Status.FAILED,
                payment_status=PaymentStatus.FAILED,
                failure_reason=reason,
                updated_at=now,
            )
        ):
            stock.give_back(tier, booking.quantity, now=now)
            if reason == FailureReason.EXPIRED:
                # A charge may still be on its way to the gateway: look again later.
                defer("look_for_late_payment", booking)
    booking.refresh_state()
    return booking
