from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ticketbook.postgres.keys import primary_key


class MailQuerySet(models.QuerySet["Mail"]):
    def waiting(self) -> Self:
        return self.filter(status=Mail.Status.WAITING)

    def due(self, now: datetime) -> Self:
        """Mails that may be sent now, and that no worker is sending."""
        return self.waiting().filter(next_attempt_at__lte=now)

    def failed(self) -> Self:
        return self.filter(status=Mail.Status.FAILED)


class Mail(models.Model):
    """A mail to one person about one event. It is written in the transaction of what it tells of.

    The row says only what the mail is about. The words are made when it is sent (mail/kinds.py), so a
    template that fails harms nothing but its own mail.
    """

    class Status(models.TextChoices):
        WAITING = "WAITING", "Waiting"  # to be sent, perhaps for another time
        SENT = "SENT", "Sent"  # the mail server has accepted it
        FAILED = "FAILED", "Failed"  # not sent, and staff have to look at it
        SKIPPED = "SKIPPED", "Skipped"  # when it was to be sent there was nothing to tell any more

    id = primary_key()
    kind = models.CharField(max_length=32)
    about = models.UUIDField()  # the key of the row that it tells of; which one, the kind knows
    # The event. A second mail with the same key is never written.
    key = models.CharField(max_length=200)
    address = models.CharField(max_length=254)
    language = models.CharField(max_length=16, blank=True, default="", db_default="")
    status = models.CharField(
        max_length=7, choices=Status, default=Status.WAITING, db_default=Status.WAITING
    )
    # Every copy has the same, so that a mail server or program can tell that it has it already.
    message_id = models.CharField("Message-ID", max_length=400)
    made_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    # Nobody sends it before. A worker that claims a mail moves this on, as far as its claim lasts.
    next_attempt_at = models.DateTimeField(db_default=Now())
    attempts = models.SmallIntegerField(default=0, db_default=0)
    last_error = models.TextField(blank=True, default="", db_default="")

    objects = MailQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="mail_key_unique"),
            models.UniqueConstraint(fields=["message_id"], name="mail_message_id_unique"),
            # It becomes a part of the Message-ID, and of a file's name.
            models.CheckConstraint(
                condition=Q(kind__regex=r"^[a-z][a-z_]*$"), name="mail_kind_form"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["WAITING", "SENT", "FAILED", "SKIPPED"]),
                name="mail_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="SENT", sent_at__isnull=False)
                | (~Q(status="SENT") & Q(sent_at__isnull=True)),
                name="mail_sent_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="FAILED") | ~Q(last_error=""), name="mail_failed_has_error"
            ),
            models.CheckConstraint(condition=Q(attempts__gte=0), name="mail_attempts_not_negative"),
        ]
        indexes = [
            # What is to be sent now.
            models.Index(
                fields=["next_attempt_at"], condition=Q(status="WAITING"), name="mail_waiting"
            ),
            # What staff have to look at.
            models.Index(fields=["-id"], condition=Q(status="FAILED"), name="mail_failed"),
            # What was written about a booking, for its page in the back office, and a search there.
            models.Index(fields=["about"], name="mail_about"),
            # How far a message to holders is, which is many mails about one row (tickets/messages.py).
            models.Index(
                fields=["about", "status"], condition=Q(kind="message"), name="mail_of_message"
            ),
            # The search of the back office: addresses that begin so.
            models.Index(
                fields=["address"], opclasses=["varchar_pattern_ops"], name="mail_address"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.address}"
