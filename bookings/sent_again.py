"""What a customer is told whose form was sent before: a reload, the way back, a second tab.

Nothing is done for such a form. It may be about a booking that was declined, or cancelled meanwhile, so each
state has its own sentence.
"""

from django.contrib import messages
from django.http import HttpRequest

from bookings.models import Booking

# It stays true whatever becomes of the booking, because it stays on a page that follows it.
STILL_AT_WORK = "You sent this twice. It counts once, and nothing is charged twice."

BOOKED = "You sent this twice. It was booked once; this is how it stands."
CALLED_OFF = "You sent this before. Its concert has been called off since. Nothing new was booked or charged."
CANCELLED = (
    "You sent this before, and have cancelled it since. Nothing new was booked or charged. To get tickets "
    "again, choose them on the page of the concert."
)
DECLINED = "You sent this before. Your payment was declined; nothing was charged. It was not tried again now."
NOT_IN_TIME = (
    "You sent this before. No payment came in time, so you have no tickets from it. It was not tried again "
    "now."
)
PAID_TOO_LATE = (
    "You sent this before. Your payment came too late, so you have no tickets from it, and the money goes "
    "back to you. It was not tried again now."
)


def say_what_became(request: HttpRequest, booking: Booking) -> None:
    """A message for the next page, about the booking that the first sending made."""
    failed = booking.status == Booking.Status.FAILED
    (messages.error if failed else messages.info)(request, _sentence(booking))


def _sentence(booking: Booking) -> str:
    if booking.status == Booking.Status.PENDING:
        return STILL_AT_WORK
    if booking.status == Booking.Status.CONFIRMED:
        return BOOKED
    if booking.status == Booking.Status.CANCELLED:
        return CALLED_OFF if booking.called_off else CANCELLED
    if booking.payment_status != Booking.PaymentStatus.FAILED:
        return PAID_TOO_LATE
    if booking.failure_reason == Booking.FailureReason.DECLINED:
        return DECLINED
    return NOT_IN_TIME
