"""To cancel a CONFIRMED booking: its tickets go back to stock, its money to the customer."""

import logging
from datetime import datetime

from django.db import transaction

from bookings import payments
from bookings.errors import NotCancellable, RequestInProgress
from bookings.gateways.base import GatewayUnavailable
from bookings.jobs import defer
from bookings.models import Booking
from concerts import stock

logger = logging.getLogger(__name__)


def cancel(booking: Booking, *, now: datetime) -> Booking:
    """Cancel a booking and try to refund it.

    A second call gives no tickets back; it only tries again to send a refund that is still owed. If the
    gateway does not answer, a job retries the refund. Raises RequestInProgress while the payment is not
    known, and NotCancellable if the booking is not confirmed, or if its concert has begun (a concert that was
    called off never begins).
    """
    with transaction.atomic(durable=True):
        tier = stock.lock_tier(booking.ticket_tier_id)  # the tier before the booking, always
        booking.refresh_state()
        if booking.status != Booking.Status.CANCELLED:
            if booking.status == Booking.Status.PENDING:
                raise RequestInProgress(bookingId=booking.pk)
            booking.ticket_tier = tier
            if not booking.cancellable_at(now) or not _mark_cancelled(booking, now=now):
                raise NotCancellable
            stock.give_back(tier, booking.quantity, now=now)
            defer("refund_booking", booking)
    booking.refresh_state()
    try:
        return send_refund(booking, now=now)
    except GatewayUnavailable:
        return booking  # the job will do it


def _mark_cancelled(booking: Booking, *, now: datetime) -> bool:
    return bool(
        Booking.objects.filter(pk=booking.pk, status=Booking.Status.CONFIRMED).update(
            status=Booking.Status.CANCELLED, updated_at=now
        )
    )


def send_refund(booking: Booking, *, now: datetime) -> Booking:
    """Refund a booking if its money is owed. Raises GatewayUnavailable."""
    if not Booking.objects.refund_owed().filter(pk=booking.pk).exists():
        return booking
    payments.refund(booking)
    Booking.objects.refund_owed().filter(pk=booking.pk).update(
        payment_status=Booking.PaymentStatus.REFUNDED, updated_at=now
    )
    booking.refresh_state()
    return booking
