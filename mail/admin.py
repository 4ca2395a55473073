"""The back office shows mails. Staff change nothing of them, and send failed ones again."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from mail import kinds
from mail.composing import short
from mail.models import Mail
from mail.outbox import send_again
from ticketbook import ids  # noqa: F401  (for <id:…>)
from ticketbook.postgres import clock
from ticketbook.read_only_admin import ReadOnly


def in_words(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


class KindFilter(admin.SimpleListFilter):
    # Django's own filter would look for the kinds in all mails, each time that the list is drawn.
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, in_words(name)) for name in kinds.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Mail)
class MailAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["made_at", "what", "address", "status", "error"]
    list_filter = ["status", KindFilter]
    list_unread = ["key", "message_id"]
    sortable_by = ()  # no column has an index for it
    search_fields = ["address"]  # shows the box; get_search_results() searches
    search_help_text = (
        "The beginning of an e-mail address, a Message-ID, or the number of what the mail tells of"
    )
    ordering = ["-id"]
    fields = ["kind", "address", "status", "last_error", "attempts", "next_attempt_at", "made_at",
              "sent_at", "about", "key", "message_id", "language"]  # fmt: skip
    readonly_fields = ["made_at"]
    actions = ["send_again"]
    change_form_template = "admin/mail/mail/change_form.html"

    @admin.display(description="kind", ordering="kind")
    def what(self, mail: Mail) -> str:
        return in_words(mail.kind)

    @admin.display(description="last error", ordering="last_error")
    def error(self, mail: Mail) -> str:
        return short(mail.last_error, 60)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Mail], search_term: str
    ) -> tuple[QuerySet[Mail], bool]:
        # Each by its index. Django's own search would compare every mail in capitals.
        if not (term := search_term.strip()):
            return queryset, False
        with suppress(ValueError):
            return queryset.filter(about=UUID(term)), False
        return queryset.filter(Q(address__startswith=term.lower()) | Q(message_id=term)), False

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mail.change_mail")

    def get_urls(self) -> list[URLPattern]:
        again = self.admin_site.admin_view(self.send_this_again)
        return [
            path("<id:mail_id>/send-again/", again, name="mail_mail_send_again"),
            *super().get_urls(),
        ]

    @admin.action(description="Send again (failed mails)", permissions=["send_again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Mail]) -> None:
        self._send_again(request, list(queryset))

    @method_decorator(require_POST)
    def send_this_again(self, request: HttpRequest, mail_id: UUID) -> HttpResponse:
        if not self.has_send_again_permission(request):
            raise PermissionDenied
        mail = get_object_or_404(Mail, pk=mail_id)
        self._send_again(request, [mail])
        return redirect("admin:mail_mail_change", mail.pk)

    def _send_again(self, request: HttpRequest, chosen: list[Mail]) -> None:
        now, by = clock.ask(), request.user
        again = [mail for mail in chosen if send_again(mail, by=by, now=now)]  # type: ignore[arg-type]
        if again:
            said = f"Mails that are sent again within seconds: {len(again)}."
            self.message_user(request, said, messages.SUCCESS)
        if len(again) < len(chosen):
            said = f"Mails that had not failed, and stay as they are: {len(chosen) - len(again)}."
            self.message_user(request, said, messages.WARNING)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        mail = context["original"]
        context["may_send_again"] = (
            mail.status == Mail.Status.FAILED and self.has_send_again_permission(request)
        )
        return super().render_change_form(request, context, *args, **kwargs)
