"""Money that goes back, and tickets that went back."""

from decimal import Decimal
from typing import NamedTuple, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import User
from bookings.gateways import named
from bookings.models.states import MAX_QUANTITY
from ticketbook.amounts import MoneyField, plain
from ticketbook.postgres.keys import primary_key
from ticketbook.templatetags.money import money


class MoneyBack(NamedTuple):
    """Sums of the refunds of a booking by what became of them."""

    under_way: Decimal = Decimal(0)
    sent: Decimal = Decimal(0)
    refused: Decimal = Decimal(0)  # by the gateway; staff have to act


class RefundQuerySet(models.QuerySet["Refund"]):
    def due(self) -> Self:
        """Those that a gateway has still to send."""
        return self.filter(status=Refund.Status.DUE).exclude(booking__gateway=named.CASH)

    def to_hand_over(self) -> Self:
        """Cash that staff have still to hand over."""
        return self.filter(status=Refund.Status.DUE, booking__gateway=named.CASH)

    def of_called_off(self, concert_id: UUID) -> Self:
        return self.filter(
            reason=Refund.Reason.CALLED_OFF, booking__ticket_tier__concert=concert_id
        )

    def open(self) -> Self:
        """Refunds that were not sent yet, those included that the gateway refused."""
        return self.exclude(status=Refund.Status.SENT)


class Refund(models.Model):
    """Money that we owe for a booking, or have sent back.

    It is made in the transaction that owes the money (bookings/refunding.py). Its id is the gateway's
    idempotency key, so however often it is sent, the money goes back once.
    """

    class Status(models.TextChoices):
        # A job sends it, and tries again until it is done. Cash waits until staff have handed it over.
        DUE = "DUE", "Due"
        SENT = "SENT", "Sent"
        FAILED = "FAILED", "Refused"  # the gateway will not send it; staff have to

    class Reason(models.TextChoices):
        CANCELLED = "CANCELLED", "Booking cancelled"
        PART = "PART", "Some tickets returned"
        CALLED_OFF = "CALLED_OFF", "Concert called off"
        LATE = "LATE", "Paid after the tickets had gone"
        GOODWILL = "GOODWILL", "Goodwill"

    id = primary_key()
    booking = models.ForeignKey("Booking", models.PROTECT, related_name="refunds", db_index=False)
    amount = MoneyField()
    tickets = models.SmallIntegerField(default=0, db_default=0)  # that were returned for it
    reason = models.CharField(max_length=10, choices=Reason)
    # The member of staff who decided; empty if the customer did, or the system.
    made_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    note = models.TextField(blank=True, default="", db_default="")  # why staff decided so
    status = models.CharField(
        max_length=6, choices=Status, default=Status.DUE, db_default=Status.DUE
    )
    failure = models.TextField(blank=True, default="", db_default="")  # why the gateway refused
    paid_at = models.DateTimeField(null=True, blank=True, editable=False)  # see Return
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = RefundQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="refund_amount_positive"),
            models.CheckConstraint(
                condition=Q(tickets__gte=0, tickets__lte=MAX_QUANTITY), name="refund_tickets_range"
            ),
            models.CheckConstraint(
                condition=Q(
                    reason__in=["CANCELLED", "PART", "CALLED_OFF", "LATE", "GOODWILL"],
                ),
                name="refund_reason_known",
            ),
            models.CheckConstraint(
                condition=Q(status="SENT", sent_at__isnull=False)
                | Q(status__in=["DUE", "FAILED"], sent_at__isnull=True),
                name="refund_sent_has_time",
            ),
        ]
        indexes = [
            # The refunds of a booking.
            models.Index(fields=["booking"], name="refund_booking"),
            # Refunds to be sent, and those that need staff.
            models.Index(
                fields=["status", "created_at"], condition=~Q(status="SENT"), name="refund_open"
            ),
            # The list of refunds in the back office, newest first.
            models.Index(fields=["-created_at"], name="refund_newest"),
            # Money that was sent back, by day.
            models.Index(fields=["sent_at"], condition=Q(status="SENT"), name="refund_sent"),
            # Before a user is deleted, the database looks for refunds that name them.
            models.Index(
                fields=["made_by"], condition=Q(made_by__isnull=False), name="refund_made_by"
            ),
        ]

    def __str__(self) -> str:
        return f"{plain(self.amount)} for booking {self.booking_id}"

    @property
    def outcome(self) -> str:
        """A sentence for staff about what became of it."""
        if self.status == self.Status.FAILED:
            return f"The gateway refused to send {money(self.amount)} back: {self.failure}"
        in_cash = self.booking.gateway == named.CASH
        if self.status == self.Status.DUE:
            if in_cash:
                return f"Hand over {money(self.amount)} in cash."
            return f"{money(self.amount)} is due; it is sent as soon as the gateway answers."
        if in_cash:
            return f"{money(self.amount)} was handed over in cash."
        return f"{money(self.amount)} was sent back."


class Return(models.Model):
    """Tickets of a confirmed booking that went back to stock, by one decision.

    The row is also the record of that request's idempotency key.
    """

    id = primary_key()
    booking = models.ForeignKey("Booking", models.PROTECT, related_name="returns", db_index=False)
    tickets = models.SmallIntegerField()
    # Which tickets. Empty: the last ones that the booking still had.
    numbers = ArrayField(models.SmallIntegerField(), default=list, db_default=[], blank=True)
    refund = models.ForeignKey(
        Refund, models.PROTECT, null=True, blank=True, related_name="returns", db_index=False
    )
    idempotency_key = models.UUIDField(null=True, blank=True)
    made_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    note = models.TextField(blank=True, default="", db_default="")
    # When the booking was paid. The booking's own `updated_at` tells it, until the first return or refund
    # overwrites that; so the first of them keeps it.
    paid_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(tickets__gte=1, tickets__lte=MAX_QUANTITY), name="return_tickets_range"
            ),
            models.CheckConstraint(
                condition=Q(numbers__len=0) | Q(numbers__len=F("tickets")),
                name="return_numbers_match",
            ),
            models.UniqueConstraint(fields=["refund"], name="return_refund_unique"),
            # Also serves "the returns of this booking".
            models.UniqueConstraint(
                fields=["booking", "idempotency_key"], name="return_booking_key_unique"
            ),
        ]
        indexes = [
            # As of refunds.
            models.Index(
                fields=["made_by"], condition=Q(made_by__isnull=False), name="return_made_by"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tickets} tickets of booking {self.booking_id}"
