from datetime import datetime
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from accounts.models import User
from bookings.models import MAX_QUANTITY, Booking, BookingQuerySet
from concerts.models import Concert, TicketTier
from mail.models import Mail
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


class HolderMessage(models.Model):
    """What staff have written to all who hold tickets of a concert, or of one tier of it.

    tickets/messages.py sends it. Nobody changes it afterwards.
    """

    id = primary_key()
    concert = models.ForeignKey(Concert, models.PROTECT, related_name="messages")
    tier = models.ForeignKey(
        TicketTier, models.PROTECT, null=True, blank=True, related_name="messages"
    )
    subject = models.CharField(max_length=150)
    text = models.TextField()  # plain; a blank line ends a paragraph
    made_by = models.ForeignKey(User, models.PROTECT, verbose_name="sent by", related_name="+")
    made_at = models.DateTimeField("sent at")
    # Who holds tickets when it is sent; once all mails are written, how many people were written to.
    people = models.IntegerField()
    # To whoever has written it, and to nobody else.
    is_test = models.BooleanField(default=False, db_default=False)
    # The last booking whose customer was written to; bookings are taken in the order of their keys.
    last_booking = models.UUIDField(null=True, editable=False)
    # When the mails to all of them were written. Whether they were sent, their own rows say.
    written_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "message to holders"
        verbose_name_plural = "messages to holders"
        constraints = [
            models.CheckConstraint(condition=Q(people__gte=0), name="message_people_not_negative"),
            models.CheckConstraint(
                condition=~Q(subject="") & ~Q(text=""), name="message_says_something"
            ),
        ]
        indexes = [
            # Whose mails are still to be written.
            models.Index(
                fields=["id"], condition=Q(written_at__isnull=True), name="message_to_write"
            ),
        ]

    def __str__(self) -> str:
        return self.subject

    def holders(self) -> BookingQuerySet:
        """The bookings whose tickets it is about: those that are confirmed, and were made before it."""
        tickets = Booking.objects.filter(
            status=Booking.Status.CONFIRMED, created_at__lte=self.made_at
        )
        if self.tier_id:
            return tickets.filter(ticket_tier=self.tier_id)
        return tickets.filter(ticket_tier__concert=self.concert_id)


class Reached(models.Model):
    """A booking whose customer a message was written to. Several bookings of one person share a mail."""

    id = primary_key()
    message = models.ForeignKey(
        HolderMessage, models.PROTECT, related_name="reached", db_index=False
    )
    booking = models.ForeignKey(Booking, models.PROTECT, related_name="reached", db_index=False)
    # Mails are forgotten after some time (mail/tasks.py).
    mail = models.ForeignKey(
        Mail, models.DO_NOTHING, related_name="reached", db_constraint=False, db_index=False
    )

    class Meta:
        constraints = [
            # Also serves "the messages of this booking".
            models.UniqueConstraint(
                fields=["booking", "message"], name="reached_booking_message_unique"
            ),
        ]
        indexes = [
            # The bookings that a mail is about, when it is sent.
            models.Index(fields=["mail"], name="reached_mail"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} for booking {self.booking_id}"


def bookings_of_code(text: str) -> list[UUID] | None:
    """The booking whose ticket has this code, for the search of the back office; None if it is no code."""
    try:
        code = read_code(text)
    except BadCode:
        return None
    return list(Ticket.objects.filter(code=code).values_list("booking", flat=True))
