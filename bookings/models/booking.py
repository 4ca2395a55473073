"""The Booking with its constraints, and what one booking knows of itself."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Now
from django.db.models.lookups import In

from accounts.models import User
from bookings.gateways import named
from bookings.models.guest_slip import GuestSlip
from bookings.models.money_back import MoneyBack, Refund, Return
from bookings.models.queries import MAY_GO_ON, BookingQuerySet
from bookings.models.states import ALLOWED_STATES, MAX_QUANTITY, TO_FULFIL
from bookings.numbers import number_of
from bookings.seen import Change, Seen
from concerts.models import Concert, TicketTier
from concerts.moving import moves_since
from ticketbook.amounts import MoneyField
from ticketbook.postgres.clock import ChangedAtField
from ticketbook.postgres.keys import primary_key

# After a move, buyers may return their tickets for so long, also if the concert has begun meanwhile.
RETURN_AFTER_MOVE = timedelta(days=14)


class Booking(models.Model):
    """One customer, one tier, 1 to 10 tickets. Only the verbs of this app change it.

    The row is also the record of its idempotency key: a second request with the key finds it.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"  # a hold: tickets are taken from stock, payment is not known
        CONFIRMED = "CONFIRMED", "Confirmed"  # paid
        FAILED = "FAILED", "Failed"  # not paid; tickets went back
        CANCELLED = "CANCELLED", "Cancelled"  # was paid; all tickets went back, money follows

    class PaymentStatus(models.TextChoices):
        PENDING = "PENDING", "Pending"  # the gateway has not answered
        SUCCESS = "SUCCESS", "Paid"  # the gateway has the customer's money for us
        FAILED = "FAILED", "Not paid"  # no money moved
        REFUNDED = "REFUNDED", "Refunded"  # the whole price went back

    class FailureReason(models.TextChoices):
        NONE = "", "—"
        DECLINED = "DECLINED", "Payment declined"
        EXPIRED = "EXPIRED", "No payment in time"

    class Source(models.TextChoices):
        ONLINE = "ONLINE", "Online"  # a customer, by the site or the API
        HOUSE = "HOUSE", "House"  # staff, for guests of the house
        ARTIST = "ARTIST", "Artist"  # staff, for guests of the artist
        DOOR = "DOOR", "Door"  # staff, for somebody who stands before them

    id = primary_key()
    user = models.ForeignKey(User, models.PROTECT, related_name="bookings", db_index=False)
    ticket_tier = models.ForeignKey(
        TicketTier, models.PROTECT, related_name="bookings", db_index=False
    )
    # What was booked. Neither the quantity nor the prices ever change.
    quantity = models.SmallIntegerField()
    unit_price = MoneyField()
    total_price = MoneyField()
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    payment_status = models.CharField(
        max_length=8, choices=PaymentStatus, default=PaymentStatus.PENDING
    )
    failure_reason = models.CharField(
        max_length=8, choices=FailureReason, blank=True, default=FailureReason.NONE, db_default=""
    )
    returned_quantity = models.SmallIntegerField(default=0, db_default=0)
    # The sum of its refunds, those included that are still to be sent.
    refunded_total = MoneyField(default=Decimal(0), db_default=Decimal(0))
    # The name of the payment gateway; all calls for this booking go to it.
    gateway = models.CharField(max_length=32, default=named.default)
    # What that gateway calls the payment; empty if it knows it by the booking's id.
    gateway_reference = models.CharField(max_length=255, blank=True, default="", db_default="")
    # Where the customer has to go to pay, for a gateway with a page of its own.
    action_url = models.TextField(blank=True, default="", db_default="")
    source = models.CharField(
        max_length=6, choices=Source, default=Source.ONLINE, db_default=Source.ONLINE
    )
    idempotency_key = models.UUIDField()
    # Until then a request, or a resolver that has claimed the hold, is at work on it.
    hold_expires_at = models.DateTimeField()
    # No request is at work on this hold any more, and its outcome is not written down. Its key answers 202.
    # It stays true if the booking fails then, because its customer has to be told.
    outcome_unknown = models.BooleanField(default=False, db_default=False)
    # Its concert was called off while it held tickets. A hold that is paid after that is cancelled at once.
    called_off = models.BooleanField(default=False, db_default=False)
    # When its tickets were made, or its customer was told that it failed (TO_FULFIL).
    fulfilled_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = ChangedAtField(db_default=Now())

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
                condition=In(
                    Concat("status", Value(" "), "payment_status", Value(" "), "failure_reason"),
                    ALLOWED_STATES,
                ),
                name="booking_status_pair_allowed",
            ),
            models.CheckConstraint(
                condition=Q(returned_quantity=0)
                | Q(returned_quantity__gt=0, returned_quantity__lte=F("quantity")),
                name="booking_returned_range",
            ),
            models.CheckConstraint(
                condition=Q(status="CANCELLED", returned_quantity=F("quantity"))
                | (
                    ~Q(status="CANCELLED")
                    & (
                        Q(returned_quantity=0)
                        | Q(status="CONFIRMED", returned_quantity__lt=F("quantity"))
                    )
                ),
                name="booking_status_returned",
            ),
            models.CheckConstraint(
                condition=Q(refunded_total=0)
                | Q(refunded_total__gt=0, refunded_total__lte=F("total_price")),
                name="booking_refunded_range",
            ),
            models.CheckConstraint(
                condition=Q(payment_status="SUCCESS")
                | Q(payment_status="REFUNDED", refunded_total=F("total_price"))
                | (Q(refunded_total=0) & ~Q(payment_status="REFUNDED")),
                name="booking_status_refunded",
            ),
            models.CheckConstraint(condition=~Q(gateway=""), name="booking_gateway_named"),
            models.CheckConstraint(
                condition=Q(source__in=["ONLINE", "HOUSE", "ARTIST", "DOOR"]),
                name="booking_source_known",
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
                fields=["ticket_tier", "status"],
                include=["quantity", "returned_quantity"],
                name="booking_tier_status",
            ),
            # How many unpaid holds a customer has. A charge that is answered at once never enters it.
            models.Index(
                fields=["user"],
                condition=Q(status="PENDING", outcome_unknown=True),
                name="booking_unpaid",
            ),
            # The resolver: expired holds of any tier.
            models.Index(
                fields=["hold_expires_at"],
                condition=Q(status="PENDING"),
                name="booking_pending_expiry",
            ),
            # Bookings to fulfil, in the order in which they were made.
            models.Index(fields=["id"], condition=TO_FULFIL, name="booking_to_fulfil"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.ticket_tier} for {self.user}"

    # What settling, cancelling and refunding change. Refreshing only these keeps loaded relations.
    STATE = (
        "status",
        "payment_status",
        "failure_reason",
        "returned_quantity",
        "refunded_total",
        "gateway_reference",
        "action_url",
        "outcome_unknown",
        "called_off",
        "fulfilled_at",
        "hold_expires_at",
        "updated_at",
    )

    def refresh_state(self) -> None:
        self.refresh_from_db(fields=self.STATE)

    @property
    def number(self) -> str:
        """What its customer is told, and reads out to staff."""
        return number_of(self.pk)

    @property
    def state_in_words(self) -> str:
        """For staff."""
        if self.status == self.Status.PENDING:
            return "Held, not paid yet" if self.outcome_unknown else "Held, being paid"
        if self.status == self.Status.FAILED and self.payment_status == self.PaymentStatus.FAILED:
            return f"Failed: {self.get_failure_reason_display().lower()}"
        if self.status == self.Status.FAILED:
            sent = self.payment_status == self.PaymentStatus.REFUNDED
            return f"Failed: paid too late, {'sent back' if sent else 'money to be sent back'}"
        status = "Called off" if self.called_off else self.get_status_display()
        if not self.total_price:
            return f"{status}, free"
        return f"{status}, {self.get_payment_status_display().lower()}"

    @property
    def paid_by(self) -> str:
        """For people: what its payment gateway is called."""
        return named.in_words(self.gateway)

    @property
    def handed_over(self) -> bool:
        """Whether this row only keeps the key of a booking that went to another address."""
        never_paid = self.failure_reason == self.FailureReason.EXPIRED
        if not never_paid or self.payment_status != self.PaymentStatus.FAILED:
            return False
        slips = GuestSlip.objects.filter(
            address=self.user.email, idempotency_key=self.idempotency_key
        )
        return slips.exclude(booking=None).exclude(booking=self.pk).exists()

    def was_given_away_by(self, address: str) -> bool:
        """Whether it belonged to this address until staff handed it over (bookings/handing_over.py)."""
        return address != self.user.email and self.slips.filter(address=address).exists()

    @property
    def as_seen(self) -> str:
        """What staff decide by when they give back tickets or money."""
        kept = ",".join(map(str, self.kept_numbers))
        return f"{self.user_id} {self.status} {self.payment_status} {self.refundable} {kept}"

    @property
    def awaits_customer(self) -> bool:
        """Whether the customer can still pay, at `action_url`."""
        return self.status == self.Status.PENDING and bool(self.action_url) and not self.called_off

    @property
    def money_back(self) -> MoneyBack:
        """What became of its refunds."""
        if self.payment_status == self.PaymentStatus.REFUNDED:
            return MoneyBack(sent=self.refunded_total)
        refunds = self.refunds.all() if self.refunded_total else []

        def sum_of(status: str) -> Decimal:
            return sum((each.amount for each in refunds if each.status == status), Decimal(0))

        return MoneyBack(
            under_way=sum_of(Refund.Status.DUE),
            sent=sum_of(Refund.Status.SENT),
            refused=sum_of(Refund.Status.FAILED),
        )

    @property
    def seen_when_booked(self) -> Seen:
        """What its customer was shown when they booked it, as far as it is known."""
        tier, concert = self.ticket_tier, self.ticket_tier.concert
        was = next(iter(moves_since(concert, self.created_at)), concert)
        return Seen(
            kind=tier.tier_type,
            price=self.unit_price,
            date=was.date,
            zone=was.time_zone,
            venue=was.venue,
            name=concert.name,
            artist=concert.artist,
        )

    @property
    def paid_at(self) -> datetime | None:
        """When its payment was settled; None if it was not paid, or if no row has kept it."""
        if self.paid_and_untouched_at:
            return self.paid_and_untouched_at
        changes = [*self.returns.all(), *self.refunds.all()]
        return min((each.paid_at for each in changes if each.paid_at), default=None)

    @property
    def paid_and_untouched_at(self) -> datetime | None:
        """When it was paid, as long as nothing was returned or refunded. Then `updated_at` tells it."""
        untouched = not (self.returned_quantity or self.refunded_total)
        return self.updated_at if self.status == self.Status.CONFIRMED and untouched else None

    @property
    def moved(self) -> list[Change]:
        """What is not so any more of date and place; nothing for a concert that does not take place."""
        concert = self.ticket_tier.concert
        if concert.status == Concert.Status.CANCELLED:
            return []
        return self.seen_when_booked.changes_of_concert(concert)

    def cancellable_at(self, now: datetime) -> bool:
        # A concert that was called off never begins, so its bookings can always be cancelled.
        # Cash is handed over by staff, so only staff cancel what was paid so.
        concert = self.ticket_tier.concert
        return (
            self.status == self.Status.CONFIRMED
            and self.gateway != named.CASH
            and (
                now < concert.date
                or concert.status == Concert.Status.CANCELLED
                or now < self.returnable_until
            )
        )

    @property
    def returnable_until(self) -> datetime:
        """Until when its customer may return tickets: until the concert begins, by its date of today.

        A customer who booked before a move may also return them for RETURN_AFTER_MOVE, but not after the last
        of the dates that they knew. Otherwise all who were there could have their money back.
        """
        concert = self.ticket_tier.concert
        moves = moves_since(concert, self.created_at)
        if not moves:
            return concert.date
        known = max(move.date for move in moves)
        return max(concert.date, min(moves[-1].moved_at + RETURN_AFTER_MOVE, known))

    def is_over_at(self, now: datetime) -> bool:
        """Whether its concert is over, as far as one can tell."""
        return self.ticket_tier.concert.date <= now - MAY_GO_ON

    @property
    def kept_quantity(self) -> int:
        """The tickets that were not returned."""
        return self.quantity - self.returned_quantity

    @property
    def kept_numbers(self) -> list[int]:
        """The numbers of the tickets that were not returned. Its tickets have the numbers 1 to `quantity`."""
        return self.kept_numbers_before(None)

    def kept_numbers_before(self, one: Return | None) -> list[int]:
        """`kept_numbers` as they were before this return."""
        kept = list(range(1, self.quantity + 1))
        if self.returned_quantity:
            for each in sorted(self.returns.all(), key=lambda row: row.pk):
                if each == one:
                    break
                gone = each.numbers or kept[-each.tickets :]
                kept = [number for number in kept if number not in gone]
        return kept

    @property
    def refundable(self) -> Decimal:
        """How much of its price can still be sent back."""
        return self.total_price - self.refunded_total
