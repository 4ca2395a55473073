"""Staff ask the gateway at once what became of a payment, instead of waiting for the worker."""

from datetime import datetime

from django.contrib.admin.models import CHANGE, LogEntry

from accounts.models import User
from bookings import payments
from bookings.errors import BookingError, RequestInProgress
from bookings.gateways.base import FINAL, GatewayUnavailable, Outcome
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.settling import settle
from ticketbook.errors import Busy

WORDS = {
    Outcome.SUCCEEDED: "it was paid",
    Outcome.DECLINED: "it was declined",
    Outcome.CANCELLED: "it was cancelled and cannot be paid any more",
    Outcome.OPEN: "it is open, and the customer may still pay",
    Outcome.NOT_FOUND: "it knows no such payment so far",
}


class PaymentKnown(BookingError):
    """What became of this payment is known, so there is nothing to ask."""


class NoAnswer(Busy):
    """The payment gateway does not answer, so nothing has changed. Try again in a minute."""


def may_be_asked(booking: Booking) -> bool:
    """Whether the gateway may know more of the payment than the booking says."""
    return booking.payment_status in {Booking.PaymentStatus.PENDING, Booking.PaymentStatus.FAILED}


def ask_now(booking: Booking, *, by: User, now: datetime) -> str:
    """Ask, settle the booking by the answer, and return the answer in words.

    An overdue hold is resolved, so its payment cannot be made afterwards. Its history in the admin says who
    asked. Raises PaymentKnown, NoAnswer, and RequestInProgress while a request is at work on it.
    """
    booking.refresh_state()
    if not may_be_asked(booking):
        raise PaymentKnown
    is_held, is_over = booking.status == Booking.Status.PENDING, booking.hold_expires_at <= now
    if is_held and not is_over and not booking.outcome_unknown:
        raise RequestInProgress(bookingId=booking.pk)
    try:
        outcome = payments.look_up(booking)
    except GatewayUnavailable:
        raise NoAnswer from None
    if is_held and is_over and outcome is not Outcome.SUCCEEDED:
        resolve_expired(now=now, limit=1, only=Booking.objects.filter(pk=booking.pk))
    elif outcome is Outcome.SUCCEEDED or (is_held and outcome in FINAL):
        settle(booking, outcome, now=now)
    booking.refresh_state()
    said = f"Asked the gateway: {WORDS[outcome]}"
    LogEntry.objects.log_actions(by.pk, [booking], CHANGE, said, single_object=True)
    return f"The gateway says that {WORDS[outcome]}."
