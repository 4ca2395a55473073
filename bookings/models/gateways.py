"""What payment gateways told us, and those that fail."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from bookings.gateways import named
from ticketbook.postgres.keys import primary_key


class PaymentEvent(models.Model):
    """The inbox of webhooks: what a payment gateway told us, once for each event.

    `key` is no foreign key: an event may name a booking that is not ours.
    """

    id = primary_key()
    gateway = models.CharField(max_length=32)
    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=100)
    key = models.UUIDField(null=True, blank=True)
    claim = models.CharField(max_length=9, blank=True)  # what it says became of the payment
    found = models.CharField(max_length=9, blank=True)  # what the gateway said when it was asked
    alert = models.TextField(blank=True, db_default="")  # what staff have to look at
    received_at = models.DateTimeField(db_default=Now(), editable=False)
    handled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gateway", "event_id"], name="payment_event_unique"),
        ]
        indexes = [
            # Events whose handling broke off.
            models.Index(
                fields=["received_at"],
                condition=Q(handled_at__isnull=True),
                name="payment_event_unhandled",
            ),
            # What the gateway told us of a booking, for its page in the back office.
            models.Index(fields=["key"], condition=Q(key__isnull=False), name="payment_event_key"),
            # What staff have to look at.
            models.Index(
                fields=["received_at"], condition=~Q(alert=""), name="payment_event_alert"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} from {named.in_words(self.gateway)}"


class GatewayPause(models.Model):
    """A payment gateway that fails, so that new bookings are refused (bookings/breakers.py)."""

    gateway = models.CharField(max_length=32, primary_key=True)
    since = models.DateTimeField()
    seen_at = models.DateTimeField()  # when a process found so for the last time

    def __str__(self) -> str:
        return self.gateway

    @property
    def in_words(self) -> str:
        return named.in_words(self.gateway)
