"""The list of messages to holders, and how far each of them is."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from mail.models import Mail
from ticketbook.read_only_admin import ReadOnly
from tickets.messages import MESSAGE
from tickets.models import HolderMessage

OPEN = [Mail.Status.WAITING, Mail.Status.FAILED, Mail.Status.SKIPPED]


def _mails(**which: Any) -> Coalesce:
    """How many mails of a message there are, by the index `mail_of_message`."""
    of_message = Mail.objects.filter(kind=MESSAGE, about=OuterRef("pk"), **which).order_by()
    counted = of_message.values("about").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@admin.register(HolderMessage)
class HolderMessageAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["subject", "made_at", "made_by", "to", "people", "sent", "waiting", "failed"]
    list_unread = ["text", "made_by__password", "concert__description", "concert__search_text"]
    list_select_related = ["made_by", "concert", "tier"]
    sortable_by = ()
    ordering = ["-id"]
    fields = ["subject", "text", "to", "made_by", "made_at", "people", "sent", "waiting", "failed",
              "skipped"]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[HolderMessage]:
        counted = {f"mails_{status.lower()}": _mails(status=status) for status in OPEN}
        rows: QuerySet[Any] = super().get_queryset(request).filter(is_test=False)
        counting: QuerySet[HolderMessage] = rows.annotate(mails=_mails(), **counted)
        return counting

    @admin.display(description="to holders of", ordering="concert")
    def to(self, message: HolderMessage) -> str:
        kind = f", {message.tier.get_tier_type_display()}" if message.tier else ""
        return f"{message.concert.name}{kind}"

    @admin.display(description="sent")
    def sent(self, message: Any) -> int:
        # Mails that were sent are forgotten after some time, the others later.
        mails = message.people if message.written_at else message.mails
        sent: int = mails - message.mails_waiting - message.mails_failed - message.mails_skipped
        return sent

    @admin.display(description="waiting")
    def waiting(self, message: Any) -> int:
        """Those included that are not written yet."""
        done: int = self.sent(message) + message.mails_failed + message.mails_skipped
        people: int = message.people
        return max(people - done, 0)

    @admin.display(description="failed")
    def failed(self, message: Any) -> str:
        if not message.mails_failed:
            return "0"
        mails = f"{reverse('admin:mail_mail_changelist')}?q={message.pk}&status__exact=FAILED"
        return format_html('<a href="{}">{}</a>', mails, message.mails_failed)

    @admin.display(description="tickets given back before")
    def skipped(self, message: Any) -> int:
        skipped: int = message.mails_skipped
        return skipped
