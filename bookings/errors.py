"""Why a booking was refused. A docstring is the message for people, a code is part of the API."""

from ticketbook.errors import Busy, Refusal


class BookingError(Refusal):
    """The booking could not be made."""

    code = "booking_refused"
    status = 409


class InsufficientTickets(BookingError):
    """Not enough tickets are left in this tier. Choose fewer, or another tier."""

    code = "insufficient_tickets"


class SalesClosed(BookingError):
    """This concert is not on sale now."""

    code = "sales_closed"

    def __init__(self, why: str = "") -> None:
        super().__init__()
        self.why = why  # a sentence that says when it is
        self.args = (f"{self.__doc__} {why}".strip(),)


class CustomerLimitReached(BookingError):
    """One customer may not have that many tickets of this tier. Choose fewer."""

    code = "customer_limit_reached"


class TooManyUnpaid(CustomerLimitReached):
    """You have as many unpaid bookings as one customer may have at a time. Pay for one of them first."""


class Changed(BookingError):
    """What you were shown is not so any more. Look again before you decide."""

    code = "changed"


class ChangedMeanwhile(Changed):
    """The booking has changed since this page was drawn. Look at it as it is now before you decide."""


class RequestInProgress(BookingError):
    """This booking is being made at this moment. Ask again in a second."""

    code = "request_in_progress"
    retry_after = 1


class IdempotencyKeyReused(BookingError):
    """This idempotency key belongs to another booking of yours. Use a new key for a new booking."""

    code = "idempotency_key_reused"
    status = 422


class PaymentDeclined(BookingError):
    """The payment was not made, and the tickets went back. To try again, use a new key."""

    code = "payment_declined"
    status = 402


class PaymentNotInTime(PaymentDeclined):
    """No payment came in time, and the tickets went back. If money was taken, it is sent back."""


class NotCancellable(BookingError):
    """Only a confirmed booking can be cancelled, and only before its concert begins."""

    code = "not_cancellable"


class PaidInCash(NotCancellable):
    """This booking was paid in cash. Ask at the box office: they cancel it and give you the money."""


class HandedOver(NotCancellable):
    """This booking was handed over to another address a moment ago. Nothing was cancelled."""


class TooManyReturned(NotCancellable):
    """This booking does not have that many tickets left to return. Choose fewer."""


class WasReturned(NotCancellable):
    """Some of these tickets are not there to return, or went back before. Look again, and choose others."""


class NothingToRefund(BookingError):
    """Nothing can be refunded: this booking was not paid, or all of its price was sent back."""

    code = "not_refundable"


class RefundTooLarge(NothingToRefund):
    """A refund is more than 0, and no more than what is left of the price. Choose another amount."""


class NoCashDue(BookingError):
    """No cash of this booking is to be handed over. Perhaps somebody has done it already."""


class RefundNotExact(NothingToRefund):
    """Nobody can be paid this amount, because the currency has no coin that small. Choose another one."""


class PaymentsPaused(Busy):
    """Payments do not go through at the moment, so nothing was booked. Try again in a little while."""

    def __init__(self, seconds: int = 1) -> None:
        super().__init__()
        self.retry_after = max(1, seconds)
