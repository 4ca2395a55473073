from datetime import datetime
from decimal import Decimal
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from ticketbook.amounts import MoneyField
from ticketbook.plain_text import plain_text
from ticketbook.postgres.keys import primary_key

# The total of ten tickets still fits into numeric(10,2).
MAX_PRICE = Decimal("9999999.99")


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
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

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
        ]
        indexes = [
            # The list: published concerts, soonest first.
            models.Index(fields=["status", "date", "id"], name="concert_status_date"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.artist}, {self.date:%Y-%m-%d})"

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
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

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
