from datetime import datetime
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from accounts.models import User
from bookings.models import MAX_QUANTITY, Booking
from ticketbook.plain_text import plain_text
from ticketbook.postgres.keys import primary_key
from tickets import tokens
from tickets.codes import PATTERN, BadCode, read_code


class TicketQuerySet(models.QuerySet["Ticket"]):
    def of(self, user: User) -> Self:
        return self.filter(booking__user=user)

    def with_details(self) -> Self:
        return self.select_related("booking__ticket_tier__concert")


class Ticket(models.Model):
    """One admission of a confirmed booking. It is made by tickets/fulfilment.py.

    Whether it is valid follows from its booking, so what happens to a booking needs no write to its tickets.
    Only a return of some of them does (tickets/returning.py).
    """

    class State(models.TextChoices):
        VALID = "VALID", "Valid"
        VOID = "VOID", "Void"

    id = primary_key()
    booking = models.ForeignKey(Booking, models.PROTECT, related_name="tickets", db_index=False)
    number = models.SmallIntegerField()  # 1 to the quantity of its booking
    code = models.CharField(max_length=13)
    holder_name = models.CharField(
        "who comes", max_length=150, blank=True, default="", db_default="", validators=[plain_text]
    )
    returned_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TicketQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(number__gte=1, number__lte=MAX_QUANTITY), name="ticket_number_range"
            ),
            models.CheckConstraint(condition=Q(code__regex=PATTERN), name="ticket_code_form"),
            # Also serves "the tickets of this booking".
            models.UniqueConstraint(
                fields=["booking", "number"], name="ticket_booking_number_unique"
            ),
            models.UniqueConstraint(fields=["code"], name="ticket_code_unique"),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def state(self) -> State:
        kept = self.booking.status == Booking.Status.CONFIRMED and self.returned_at is None
        return self.State.VALID if kept else self.State.VOID

    @property
    def is_valid(self) -> bool:
        return self.state == self.State.VALID

    @property
    def token(self) -> str:
        """The signed token of its QR code, which is also the secret of its own address."""
        tier = self.booking.ticket_tier
        return tokens.sign(
            ticket=self.pk,
            concert=tier.concert_id,
            tier_type=tier.tier_type,
            number=self.number,
        )

    def nameable_at(self, now: datetime) -> bool:
        """Whether the name of who comes may still be changed: until the concert begins."""
        return self.is_valid and now < self.booking.ticket_tier.concert.date


def bookings_of_code(text: str) -> list[UUID] | None:
    """The booking whose ticket has this code, for the search of the back office; None if it is no code."""
    try:
        code = read_code(text)
    except BadCode:
        return None
    return list(Ticket.objects.filter(code=code).values_list("booking", flat=True))
