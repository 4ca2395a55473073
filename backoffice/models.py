from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ticketbook.postgres.keys import primary_key


def sum_field() -> "models.DecimalField[Decimal, Decimal]":
    # A day's sum may have more digits than one amount.
    return models.DecimalField(max_digits=18, decimal_places=2, default=Decimal(0))


class Figures(models.Model):
    """What was sold, taken and sent back in some time. backoffice/days.py says what each figure counts."""

    sold_tickets = models.IntegerField(default=0)
    sold_money = sum_field()
    house_tickets = models.IntegerField(default=0, db_default=0)
    artist_tickets = models.IntegerField(default=0, db_default=0)
    door_tickets = models.IntegerField(default=0)
    door_money = sum_field()
    free_tickets = models.IntegerField(default=0)
    late_money = sum_field()
    sent_back = sum_field()
    cash_back = sum_field()

    class Meta:
        abstract = True


class ClosedDay(Figures):
    """The figures of a day that cannot change any more, so that nobody has to count them again."""

    begins_at = models.DateTimeField(primary_key=True)
    ends_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(begins_at__lt=models.F("ends_at")), name="closed_day_begins_before_end"
            )
        ]

    def __str__(self) -> str:
        return f"{self.begins_at:%Y-%m-%d}"


class Audit(models.Model):
    """One run of the nightly audit (bookings/audit.py)."""

    id = primary_key()
    made_at = models.DateTimeField(db_default=Now(), editable=False)
    tiers = models.IntegerField()
    bookings = models.IntegerField()
    differences = models.IntegerField()

    def __str__(self) -> str:
        return f"Audit of {self.made_at:%Y-%m-%d %H:%M}"


class Difference(models.Model):
    """A difference that an audit has found. Only those of the last audit are kept, and of these the first."""

    id = primary_key()
    audit = models.ForeignKey(Audit, models.CASCADE, related_name="found", db_index=False)
    sentence = models.TextField()

    def __str__(self) -> str:
        return self.sentence


class SentForm(models.Model):
    """The key of a form of a verb that was sent, so that it does its work once (backoffice/verbs/once.py)."""

    key = models.UUIDField(primary_key=True)
    sent_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return str(self.key)
