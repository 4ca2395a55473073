"""What a webhook has raised an alert about, until staff have looked at it."""

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction

from accounts.models import User
from bookings.models import PaymentEvent
from ticketbook.errors import Refusal


class NoAlert(Refusal):
    """This message has no alert, or another one by now. Look at it again."""

    status = 409


def dismiss(event: PaymentEvent, *, by: User, note: str) -> None:
    """Staff have looked at the alert that `event` shows, and say what it was. Raises NoAlert.

    Its history in the admin keeps the alert, who dismissed it, and why.
    """
    with transaction.atomic():
        shown = PaymentEvent.objects.filter(pk=event.pk, alert=event.alert).exclude(alert="")
        if not shown.update(alert=""):
            raise NoAlert
        said = f"Dismissed “{event.alert}”: {note}"
        LogEntry.objects.log_actions(by.pk, [event], CHANGE, said, single_object=True)
