from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q, Sum
from django.db.models.functions import Now

from accounts.models import User
from concerts.models import Concert, TicketTier
from ticketbook.postgres.keys import primary_key

MAX_QUANTITY = 10  # tickets of one booking; also in the CHECK booking_quantity_range


# The bookings whose tickets have been taken from stock.
HOLDS_TICKETS = Q(status__in=["PENDING", "CONFIRMED"])


class BookingQuerySet(models.QuerySet["Booking"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def with_details(self) -> Self:
        return self.select_related("user", "ticket_tier__concert")

    def pending(self) -> Self:
        return self.filter(status=Booking.Status.PENDING)

    def holding_tickets(self) -> Self:
        return self.filter(HOLDS_TICKETS)

    def expiry_due(self, now: datetime) -> Self:
        """Holds that no request is working on any more, so the resolver may take them."""
        return self.pending().filter(hold_expires_at__lte=now)

    def refund_owed(self) -> Self:
        """Bookings whose tickets went back while we still have the money."""
        return self.filter(
            status__in=[Booking.Status.CANCELLED, Booking.Status.FAILED],
            payment_status=Booking.PaymentStatus.SUCCESS,
        )

    def tickets(self) -> int:
        total: int = self.aggregate(tickets=Sum("quantity", default=0))["tickets"]
        return total


class Booking(models.Model):
    """One customer, one tier, 1 to 10 tickets. Only the verbs of this app change it.

    The row is also the record of its idempotency key: a second request with the key finds it.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"  # a hold: tickets are taken from stock, payment is not known
        CONFIRMED = "CONFIRMED", "Confirmed"  # paid
        FAILED = "FAILED", "Failed"  # not paid; tickets went back
        CANCELLED = "CANCELLED", "Cancelled"  # was paid; tickets went back, money follows

    class PaymentStatus(models.TextChoices):
        PENDING = "PENDING", "Pending"  # the gateway has not answered
        SUCCESS = "SUCCESS", "Paid"  # the gateway has the customer's money for us
        FAILED = "FAILED", "Not paid"  # no money moved
        REFUNDED = "REFUNDED", "Refunded"  # the money went back

    class FailureReason(models.TextChoices):
        NONE = "", "—"
        DECLINED = "DECLINED", "Payment declined"
        EXPIRED = "EXPIRED", "No payment in time"

    id = primary_key()
    user = models.ForeignKey(User, models.PROTECT, related_name="bookings", db_index=False)
    ticket_tier = models.ForeignKey(
        TicketTier, models.PROTECT, related_name="bookings", db_index=False
    )
    quantity = models.SmallIntegerField()
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    total_price = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    payment_status = models.CharField(
        max_length=8, choices=PaymentStatus, default=PaymentStatus.PENDING
    )
    failure_reason = models.CharField(
        max_length=8, choices=FailureReason, blank=True, default=FailureReason.NONE, db_default=""
    )
    idempotency_key = models.UUIDField()
    # Until then a request, or a resolver that has claimed the hold, is at work on it.
    hold_expires_at = models.DateTimeField()
    # No request is at work on this hold any more, and its outcome is not written down. Its key answers 202.
    outcome_unknown = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    objects = BookingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="booking_quantity_range",
            ),
            models.CheckConstraint(
                condition=Q(total_price=F("unit_price") * F("quantity")),
                name="booking_total_is_unit_times_quantity",
            ),
            models.CheckConstraint(
                condition=Q(unit_price__gte=0), name="booking_price_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(status="PENDING", payment_status="PENDING", failure_reason="")
                | Q(status="CONFIRMED", payment_status="SUCCESS", failure_reason="")
                | Q(
                    status="FAILED",
                    payment_status="FAILED",
                    failure_reason__in=["DECLINED", "EXPIRED"],
                )
                # The success came after the tickets had gone: the money is owed, then sent back.
                | Q(
                    status="FAILED",
                    payment_status__in=["SUCCESS", "REFUNDED"],
                    failure_reason="EXPIRED",
                )
                | Q(
                    status="CANCELLED",
                    payment_status__in=["SUCCESS", "REFUNDED"],
                    failure_reason="",
                ),
                name="booking_status_pair_allowed",
            ),
            models.UniqueConstraint(
                fields=["user", "idempotency_key"], name="booking_user_key_unique"
            ),
        ]
        indexes = [
            # "My bookings", newest first. A UUIDv7 key is in order of time.
            models.Index("user", F("id").desc(), name="booking_user_newest"),
            # Sales figures and the audit: the tickets of a tier by status, from the index alone.
            models.Index(
                fields=["ticket_tier", "status"], include=["quantity"], name="booking_tier_status"
            ),
            # Refunds that we owe.
            models.Index(
                fields=["updated_at"],
                condition=Q(payment_status="SUCCESS", status__in=["CANCELLED", "FAILED"]),
                name="booking_refund_owed",
            ),
            # The resolver: expired holds of any tier.
            models.Index(
                fields=["hold_expires_at"],
                condition=Q(status="PENDING"),
                name="booking_pending_expiry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.ticket_tier} for {self.user}"

    # What settling, cancelling and refunding change. Refreshing only these keeps loaded relations.
    STATE = (
        "status",
        "payment_status",
        "failure_reason",
        "outcome_unknown",
        "hold_expires_at",
        "updated_at",
    )

    def refresh_state(self) -> None:
        self.refresh_from_db(fields=self.STATE)

    def cancellable_at(self, now: datetime) -> bool:
        # A concert that was called off never begins, so its bookings can always be cancelled.
        concert = self.ticket_tier.concert
        return self.status == self.Status.CONFIRMED and (
            now < concert.date or concert.status == Concert.Status.CANCELLED
        )
