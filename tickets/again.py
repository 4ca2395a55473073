"""To mail the tickets of a booking again."""

from uuid import UUID

from accounts import throttle
from bookings.models import Booking
from mail import outbox
from mail.models import Mail
from tickets.errors import NotConfirmed
from tickets.fulfilment import TICKETS


def send_again(booking: Booking, *, key: UUID) -> None:
    """Post one more mail with the tickets. A second call with the key posts none.

    Raises NotConfirmed, and Throttled after three mails in an hour.
    """
    if booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    event = f"{TICKETS}:{booking.pk}:{key}"
    if Mail.objects.filter(key=event).exists():
        return
    throttle.count_mail_about("tickets again", booking.pk)
    outbox.post(kind=TICKETS, about=booking.pk, to=booking.user.email, key=event)
