from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat, Now
from django.db.models.lookups import Contains, GreaterThanOrEqual, IsNull, LessThanOrEqual

from concerts.folding import Folded
from ticketbook.amounts import MoneyField
from ticketbook.plain_text import plain_text
from ticketbook.postgres.clock import ChangedAtField
from ticketbook.postgres.keys import primary_key
from ticketbook.zones import WHICH, known_zone, local

# No concert has more words in name, artist and venue. Thousands would keep the planner busy for seconds.
MAX_WORDS = 300
# The total of ten tickets still fits into numeric(10,2).
MAX_PRICE = Decimal("9999999.99")


def usual_zone() -> str:
    zone: str = settings.TIME_ZONE
    return zone


# When a concert begins, as the clock of its venue shows it. This is a time without a zone.
BEGINS_THERE = models.Func(
    F("time_zone"), F("date"), function="timezone", output_field=models.DateTimeField()
)


DAY_THERE = Cast(BEGINS_THERE, models.DateField())
TODAY_THERE = Cast(
    models.Func(F("time_zone"), Now(), function="timezone", output_field=models.DateTimeField()),
    models.DateField(),
)
A_DAY = timedelta(days=1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


class ConcertQuerySet(models.QuerySet["Concert"]):
    def published(self) -> Self:
        return self.filter(status=Concert.Status.PUBLISHED)

    def announced(self) -> Self:
        # What customers may look at: published concerts, and those that were called off.
        return self.exclude(status=Concert.Status.DRAFT)

    def on_sale(self, now: datetime) -> Self:
        """Concerts of which a ticket can be bought; the same as `Concert.is_on_sale`."""
        left = TicketTier.objects.filter(concert=OuterRef("pk"), available_quantity__gt=0)
        return self.published().filter(
            Q(sales_open_at__isnull=True) | Q(sales_open_at__lte=now),
            Q(sales_close_at__isnull=True) | Q(sales_close_at__gt=now),
            Exists(left),
            date__gt=now,
        )

    def from_day(self, day: date) -> Self:
        """Concerts on this day or later, by the calendar of their venues."""
        # The first condition is for the index on the date. No clock is a day from UTC.
        with suppress(OverflowError):
            self = self.filter(date__gte=_midnight(day) - A_DAY)
        return self.filter(GreaterThanOrEqual(DAY_THERE, day))

    def to_day(self, day: date) -> Self:
        """Concerts on this day or earlier, by the calendar of their venues."""
        with suppress(OverflowError):
            self = self.filter(date__lt=_midnight(day) + 2 * A_DAY)
        return self.filter(LessThanOrEqual(DAY_THERE, day))

    def matching(self, text: str) -> Self:
        """Concerts that have each word of the text in their name, artist or venue.

        Case, accents and the order of the words do not matter. A word may be part of a longer one.
        """
        words = dict.fromkeys(text.split())
        if len(words) > MAX_WORDS:
            return self.none()
        return self.filter(*(Q(search_text__contains=Folded(Value(word))) for word in words))

    def with_text_in(self, field: str, text: str) -> Self:
        """Concerts that have the text as it stands, but for case and accents, in this field."""
        folded = Folded(Value(text))
        # The first condition finds candidates by the index, which covers all fields.
        return self.filter(Q(search_text__contains=folded), Contains(Folded(F(field)), folded))

    def soonest_first(self) -> Self:
        return self.order_by("date", "id")

    def with_tiers(self) -> Self:
        return self.prefetch_related(models.Prefetch("ticket_tiers", TicketTier.objects.by_price()))


class Concert(models.Model):
    class Status(models.TextChoices):
        DRAFT = "DRAFT"  # only staff see it
        PUBLISHED = "PUBLISHED"  # listed, and on sale within its sales times
        CANCELLED = "CANCELLED"  # called off: no longer listed nor sold

    id = primary_key()
    name = models.CharField(max_length=200, validators=[plain_text])
    artist = models.CharField(max_length=200, validators=[plain_text])
    venue = models.CharField(max_length=200, validators=[plain_text])
    date = models.DateTimeField()
    # Of the venue. Dates and sales times are shown and typed by its clock.
    time_zone = models.CharField(
        max_length=64, default=usual_zone, db_default="UTC", validators=[known_zone]
    )
    description = models.TextField(blank=True, db_default="")
    status = models.CharField(
        max_length=9, choices=Status, default=Status.DRAFT, db_default=Status.DRAFT
    )
    sales_open_at = models.DateTimeField(
        null=True, blank=True, help_text="Leave it empty to sell from the moment of publication."
    )
    sales_close_at = models.DateTimeField(
        null=True, blank=True, help_text="Leave it empty to sell until the concert begins."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = ChangedAtField(db_default=Now())
    # No word can reach over a line break, so each is found within one field.
    search_text = models.GeneratedField(
        expression=Folded(Concat("name", Value("\n"), "artist", Value("\n"), "venue")),
        output_field=models.TextField(),
        db_persist=True,
    )

    objects = ConcertQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["DRAFT", "PUBLISHED", "CANCELLED"]),
                name="concert_status_known",
            ),
            models.CheckConstraint(
                condition=Q(sales_open_at__isnull=True)
                | Q(sales_close_at__isnull=True)
                | Q(sales_open_at__lt=F("sales_close_at")),
                name="concert_sales_open_before_close",
                violation_error_message="Sales must open before they close.",
            ),
            models.CheckConstraint(
                condition=Q(sales_open_at__isnull=True) | Q(sales_open_at__lt=F("date")),
                name="concert_sales_open_before_it_begins",
                violation_error_message="Sales must open before the concert begins.",
            ),
            models.CheckConstraint(
                condition=Q(time_zone__regex=r"^(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z_-]+)+)$"),
                name="concert_time_zone_form",
                violation_error_message=WHICH,
            ),
            # A zone that the database does not know fails every search by day, so it fails here first.
            models.CheckConstraint(
                condition=IsNull(BEGINS_THERE, False),
                name="concert_time_zone_known",
                violation_error_message=WHICH,
            ),
        ]
        indexes = [
            # The list: published concerts, soonest first.
            models.Index(fields=["status", "date", "id"], name="concert_status_date"),
            # The search: parts of words.
            GinIndex(
                fields=["search_text"], opclasses=["gin_trgm_ops"], name="concert_search_text"
            ),
        ]

    def __str__(self) -> str:
        day = local(self.date, self.time_zone)
        return f"{self.name} ({self.artist}, {day:%Y-%m-%d})"

    def sells_at(self, now: datetime) -> bool:
        return (
            self.status == self.Status.PUBLISHED
            and now < self.date
            and (self.sales_close_at is None or now < self.sales_close_at)
            and (self.sales_open_at is None or self.sales_open_at <= now)
        )

    def is_on_sale(self, now: datetime) -> bool:
        """Whether a ticket can be bought. The concert comes with its tiers."""
        return self.sells_at(now) and any(
            tier.available_quantity for tier in self.ticket_tiers.all()
        )


class Move(models.Model):
    """A concert has got another date or place. The row says what it was until then, as its buyers know it.

    It is written by concerts/moving.py. It is a table of its own because a sale reads the whole concert.
    """

    id = primary_key()
    concert = models.ForeignKey(
        Concert, models.CASCADE, related_name="moves", db_index=False, editable=False
    )
    moved_at = models.DateTimeField()
    date = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    venue = models.CharField(max_length=200)

    class Meta:
        indexes = [
            # The moves of a concert.
            models.Index(fields=["concert"], name="move_concert"),
        ]

    def __str__(self) -> str:
        return f"{self.concert_id} until {self.moved_at:%Y-%m-%d}"


class TicketTierQuerySet(models.QuerySet["TicketTier"]):
    def by_price(self) -> Self:
        return self.order_by("price", "id")

    def locked(self) -> Self:
        # In primary-key order, so that two transactions cannot deadlock. NO KEY, so that rows which refer
        # to the tier can still be inserted.
        return self.order_by("pk").select_for_update(of=("self",), no_key=True)


class TicketTier(models.Model):
    """A kind of ticket of one concert, with its price and stock.

    Only concerts/stock.py changes `total_quantity`, `kept_back` and `available_quantity`. What is neither
    available nor kept back is sold or held.
    """

    class Type(models.TextChoices):
        VIP = "VIP", "VIP"
        FRONT_ROW = "FRONT_ROW", "Front row"
        GA = "GA", "General admission"

    id = primary_key()
    concert = models.ForeignKey(
        Concert, models.PROTECT, related_name="ticket_tiers", db_index=False
    )
    tier_type = models.CharField(max_length=9, choices=Type)
    price = MoneyField(validators=[MinValueValidator(0), MaxValueValidator(MAX_PRICE)])
    total_quantity = models.IntegerField("capacity", validators=[MinValueValidator(0)])
    available_quantity = models.IntegerField("available", editable=False)
    # Taken out of what can be sold, with a reason, by concerts/stock.py: keep_back().
    kept_back = models.IntegerField(default=0, db_default=0, editable=False)
    max_per_customer = models.SmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many tickets one customer may have; empty for no limit.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = ChangedAtField(db_default=Now())

    objects = TicketTierQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(available_quantity__gte=0),
                name="tier_available_not_negative",
                violation_error_code="insufficient_tickets",
                violation_error_message="Not enough tickets are left in this tier.",
            ),
            models.CheckConstraint(condition=Q(kept_back__gte=0), name="tier_kept_not_negative"),
            models.CheckConstraint(
                condition=Q(available_quantity__lte=F("total_quantity") - F("kept_back")),
                name="tier_available_within_total",
                violation_error_message="No more tickets can be available than the tier has.",
            ),
            models.CheckConstraint(condition=Q(price__gte=0), name="tier_price_not_negative"),
            models.CheckConstraint(condition=Q(price__lte=MAX_PRICE), name="tier_price_bookable"),
            models.CheckConstraint(
                condition=Q(tier_type__in=["VIP", "FRONT_ROW", "GA"]), name="tier_type_known"
            ),
            models.CheckConstraint(
                condition=Q(max_per_customer__isnull=True) | Q(max_per_customer__gte=1),
                name="tier_max_per_customer_positive",
            ),
            # Also serves "the tiers of these concerts".
            models.UniqueConstraint(
                fields=["concert", "tier_type"],
                name="tier_concert_type_unique",
                violation_error_message="The concert has a tier of this type already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_tier_type_display()} of {self.concert.name}"

    @property
    def taken_quantity(self) -> int:
        """The tickets that are sold or held."""
        return self.total_quantity - self.kept_back - self.available_quantity
