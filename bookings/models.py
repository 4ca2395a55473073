from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Sum, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat, Now
from django.db.models.lookups import In

from accounts.email_field import EmailAddressField
from accounts.models import User
from bookings.gateways import named
from bookings.numbers import keys_around, number_of
from bookings.seen import Change, Seen
from concerts.models import Concert, TicketTier
from concerts.moving import moves_since
from ticketbook.amounts import MoneyField, plain
from ticketbook.postgres.clock import ChangedAtField
from ticketbook.postgres.keys import first_key_of, primary_key
from ticketbook.templatetags.money import money

MAX_QUANTITY = 10  # tickets of one booking; also in the CHECK booking_quantity_range

# Status, payment status and failure reason, as they may go together. PostgreSQL reads a CHECK anew for every
# statement, and a list of texts takes a quarter of the time of the same rule written with AND and OR.
ALLOWED_STATES = [
    "PENDING PENDING ",
    "CONFIRMED SUCCESS ",
    "CONFIRMED REFUNDED ",  # staff gave all the money back, and the customer keeps the tickets
    "FAILED FAILED DECLINED",
    "FAILED FAILED EXPIRED",
    # The money came after the tickets had gone: it is owed, then sent back.
    "FAILED SUCCESS EXPIRED",
    "FAILED REFUNDED EXPIRED",
    "CANCELLED SUCCESS ",
    "CANCELLED REFUNDED ",
]

# `fulfilled_at` of bookings that were made before there were tickets. Nobody is mailed about them, and
# their tickets are made when somebody asks for them.
BEFORE_TICKETS = datetime(1970, 1, 1, tzinfo=UTC)

# What is to be done for a booking after its sale: its tickets are made, or its customer, whose request had
# got no outcome, is told that it failed. (At a payment page the customer sees that.)
TO_FULFIL = Q(fulfilled_at__isnull=True) & (
    Q(status="CONFIRMED") | Q(status="FAILED", outcome_unknown=True, action_url="")
)

# The bookings whose tickets have been taken from stock.
HOLDS_TICKETS = Q(status__in=["PENDING", "CONFIRMED"])


OF_CALLED_OFF = Q(ticket_tier__concert__status=Concert.Status.CANCELLED)

# After a move, buyers may return their tickets for so long, also if the concert has begun meanwhile.
RETURN_AFTER_MOVE = timedelta(days=14)

# A concert that began so long ago may still be on: concerts have no time at which they end.
MAY_GO_ON = timedelta(hours=6)


# A booking is dated by the process that made it, and its key by the database, a moment before or after.
KEYS_AROUND = timedelta(minutes=10)

BOOKINGS_OF_SLIPS = """
SELECT booking.id FROM unnest(%s::uuid[], %s::int[]) AS known (slip, stops)
JOIN bookings_guestslip slip ON slip.id = known.slip AND slip.stops = known.stops
JOIN accounts_user guest ON guest.email = slip.address AND guest.is_guest
JOIN bookings_booking booking
    ON booking.user_id = guest.id AND booking.idempotency_key = slip.idempotency_key
"""


def _comes(now: datetime) -> Q:
    return Q(ticket_tier__concert__date__gt=now - MAY_GO_ON)


class MoneyBack(NamedTuple):
    """Sums of the refunds of a booking by what became of them."""

    under_way: Decimal = Decimal(0)
    sent: Decimal = Decimal(0)
    refused: Decimal = Decimal(0)  # by the gateway; staff have to act


class BookingQuerySet(models.QuerySet["Booking"]):
    def of(self, user: User) -> Self:
        return self.filter(user=user)

    def of_person(self, user_id: UUID) -> Self:
        """Those of a customer, and of the guest or the account with the same address."""
        address = User.objects.filter(pk=user_id).values("email")
        return self.filter(user__in=User.objects.filter(email__in=address))

    def of_slips(self, slips: Mapping[UUID, int]) -> Self:
        """Those of guests that belong to these slips, if their links were stopped as often as it says."""
        known = [list(slips), list(slips.values())]
        return self.filter(pk__in=RawSQL(BOOKINGS_OF_SLIPS, known))

    def numbered(self, number: str) -> Self:
        """Those with this number (bookings/numbers.py): one, but for a rare coincidence."""
        begin, end = keys_around(number)
        keys = self.filter(pk__gte=begin, pk__lt=end).values_list("pk", flat=True)
        return self.filter(pk__in=[key for key in keys if number_of(key) == number])

    def made_between(self, begin: datetime, end: datetime | None = None) -> Self:
        """Bookings from `begin` on, and before `end`. The key finds them: there is no index on the time."""
        made = self.filter(pk__gte=first_key_of(begin - KEYS_AROUND), created_at__gte=begin)
        if end is None:
            return made
        return made.filter(pk__lt=first_key_of(end + KEYS_AROUND), created_at__lt=end)

    def newest_first(self) -> Self:
        return self.order_by("-id")

    def with_details(self) -> Self:
        return self.select_related("user", "ticket_tier__concert")

    # Each booking is in one of the next three.

    def upcoming(self, now: datetime) -> Self:
        """Those with tickets for a concert that is not over yet, as far as one can tell; soonest first."""
        coming = self.holding_tickets().exclude(OF_CALLED_OFF).filter(_comes(now))
        return coming.order_by("ticket_tier__concert__date", "id")

    def past(self, now: datetime) -> Self:
        """Those with tickets for a concert that is over; the latest first."""
        over = self.holding_tickets().exclude(OF_CALLED_OFF).exclude(_comes(now))
        return over.order_by("-ticket_tier__concert__date", "-id")

    def ended(self) -> Self:
        """Those that were cancelled, called off or not paid; the newest first."""
        return self.filter(~HOLDS_TICKETS | OF_CALLED_OFF).newest_first()

    def to_look_at(self, now: datetime) -> Self:
        """What a customer has to know first: a payment to make, or a coming concert that was called off."""
        unpaid = Q(status="PENDING", outcome_unknown=True, called_off=False) & ~Q(action_url="")
        called_off = OF_CALLED_OFF & (Q(called_off=True) | HOLDS_TICKETS)
        either = self.filter(unpaid | (called_off & _comes(now)))
        return either.order_by("ticket_tier__concert__date", "id")

    def with_sales(self) -> Self:
        """With what `Concert.is_on_sale` looks at, after `with_details`."""
        return self.prefetch_related("ticket_tier__concert__ticket_tiers")

    def pending(self) -> Self:
        return self.filter(status=Booking.Status.PENDING)

    def holding_tickets(self) -> Self:
        return self.filter(HOLDS_TICKETS)

    def expiry_due(self, now: datetime) -> Self:
        """Holds that no request is working on any more, so the resolver may take them."""
        return self.pending().filter(hold_expires_at__lte=now)

    def to_fulfil(self) -> Self:
        return self.filter(TO_FULFIL)

    def tickets(self) -> int:
        kept = F("quantity") - F("returned_quantity")
        total: int = self.aggregate(tickets=Sum(kept, default=0))["tickets"]
        return total


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
    def handed_over(self) -> bool:
        """Whether this row only keeps the key of a booking that went to another address."""
        never_paid = self.failure_reason == self.FailureReason.EXPIRED
        if not never_paid or self.payment_status != self.PaymentStatus.FAILED:
            return False
        slips = GuestSlip.objects.filter(
            address=self.user.email, idempotency_key=self.idempotency_key
        )
        return slips.exclude(booking=None).exclude(booking=self.pk).exists()

    @property
    def as_seen(self) -> str:
        """What staff decide by when they give back tickets or money."""
        kept = ",".join(map(str, self.kept_numbers))
        return f"{self.status} {self.payment_status} {self.refundable} {kept}"

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

    def kept_numbers_before(self, one: "Return | None") -> list[int]:
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


class RefundQuerySet(models.QuerySet["Refund"]):
    def due(self) -> Self:
        return self.filter(status=Refund.Status.DUE)

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
        DUE = "DUE", "Due"  # a job sends it, and tries again until it is done
        SENT = "SENT", "Sent"
        FAILED = "FAILED", "Refused"  # the gateway will not send it; staff have to

    class Reason(models.TextChoices):
        CANCELLED = "CANCELLED", "Booking cancelled"
        PART = "PART", "Some tickets returned"
        CALLED_OFF = "CALLED_OFF", "Concert called off"
        LATE = "LATE", "Paid after the tickets had gone"
        GOODWILL = "GOODWILL", "Goodwill"

    id = primary_key()
    booking = models.ForeignKey(Booking, models.PROTECT, related_name="refunds", db_index=False)
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
        if self.status == self.Status.DUE:
            return f"{money(self.amount)} is due; it is sent as soon as the gateway answers."
        if self.booking.gateway == "cash":
            return f"Hand over {money(self.amount)} in cash."
        return f"{money(self.amount)} was sent back."


class Return(models.Model):
    """Tickets of a confirmed booking that went back to stock, by one decision.

    The row is also the record of that request's idempotency key.
    """

    id = primary_key()
    booking = models.ForeignKey(Booking, models.PROTECT, related_name="returns", db_index=False)
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


class GuestSlip(models.Model):
    """What is kept of a form that a guest has sent, beside the booking that it made (bookings/guests.py).

    Address and key find that booking among those of the guest. After it has moved to an account or another
    address, `booking` does, so that the form never books anew.
    """

    id = primary_key()
    address = EmailAddressField(max_length=254)
    idempotency_key = models.UUIDField()
    name = models.CharField(max_length=150)
    # How often its mailed link was stopped. Links and browsers know the number (bookings/access.py).
    stops = models.SmallIntegerField(default=0, db_default=0)
    # Null as long as the booking is this guest's, or if there is none.
    booking = models.ForeignKey(
        Booking, models.CASCADE, null=True, blank=True, related_name="slips", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["address", "idempotency_key"], name="guest_slip_address_key_unique"
            ),
            models.CheckConstraint(condition=Q(stops__gte=0), name="guest_slip_stops_not_negative"),
        ]
        indexes = [
            # The slips of bookings that have moved to an account or another address.
            models.Index(
                fields=["booking"], condition=Q(booking__isnull=False), name="guest_slip_booking"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


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
        return f"{self.type} from {self.gateway}"


class GatewayPause(models.Model):
    """A payment gateway that fails, so that new bookings are refused (bookings/breakers.py)."""

    gateway = models.CharField(max_length=32, primary_key=True)
    since = models.DateTimeField()
    seen_at = models.DateTimeField()  # when a process found so for the last time

    def __str__(self) -> str:
        return self.gateway
