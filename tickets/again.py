"""To mail the tickets of a booking again."""

from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction

from accounts import throttle
from accounts.models import User
from bookings.models import Booking
from bookings.refunding import lock_booking
from mail import outbox
from mail.models import Mail
from tickets.errors import NotConfirmed
from tickets.fulfilment import TICKETS

SENT_AGAIN = "Sent the tickets again"


def send_again(booking: Booking, *, key: UUID, by: User | None = None) -> None:
    """Post one more mail with the tickets. A second call with the key posts none.

    Raises NotConfirmed, and Throttled after three mails in an hour that a customer asked for. `by` is a
    member of staff, whom nothing limits and whom the booking's history names.
    """
    if booking.status != Booking.Status.CONFIRMED:
        raise NotConfirmed
    event = f"{TICKETS}:{booking.pk}:{key}"
    if Mail.objects.filter(key=event).exists():
        return
    if by is None:
        throttle.count_mail_about("tickets again", booking.pk)
    with transaction.atomic():
        lock_booking(booking)  # so that it goes to whoever has it by then
        if booking.status != Booking.Status.CONFIRMED:
            raise NotConfirmed
        outbox.post(kind=TICKETS, about=booking.pk, to=booking.user.email, key=event)
        if by is not None:
            LogEntry.objects.log_actions(by.pk, [booking], CHANGE, SENT_AGAIN, single_object=True)
