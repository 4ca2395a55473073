"""Lists of no app below: audits, and the corner for superusers with jobs, sessions and the like."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe
from procrastinate.contrib.django.admin import ProcrastinateJobAdmin
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinatePeriodicDefer

from accounts.models import Attempts, Session
from backoffice import concert_admin, messages  # noqa: F401  (register the admin of these)
from backoffice.models import Audit, Difference
from ticketbook.read_only_admin import ReadOnly

admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ProcrastinateJobAdmin):
    # Not by lock: there are as many locks as jobs.
    list_filter = ["status", "task_name"]
    ordering = ["-id"]

    # Without the inline style of the original, which our Content-Security-Policy refuses.
    @admin.display(description="Args")
    def pretty_args(self, instance: ProcrastinateJob) -> SafeString:
        styled = super().pretty_args(instance)  # what comes from the job is escaped in it
        return mark_safe(styled.replace(' style="margin: 0"', "", 1))


@admin.register(ProcrastinatePeriodicDefer)
class PeriodicDeferAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["task_name", "at", "job"]
    list_display_links = None
    list_select_related = ["job"]
    ordering = ["task_name"]

    @admin.display(description="last put on the queue", ordering="defer_timestamp")
    def at(self, defer: ProcrastinatePeriodicDefer) -> datetime | None:
        seconds = defer.defer_timestamp
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@admin.register(Session)
class SessionAdmin(ReadOnly, admin.ModelAdmin):
    """A session's key is enough to use the session, so the list shows no keys and has no links."""

    list_display = ["user", "browser", "made_at", "used_at", "expire_date"]
    list_unread = ["session_data", "user__password"]
    list_display_links = None
    list_select_related = ["user"]
    sortable_by = ()
    search_fields = ["user__email"]
    ordering = ["-used_at"]
    actions = None
    fields = ["user", "browser", "made_at", "used_at", "expire_date"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Django deletes a user's sessions with the user, and asks for this permission first.
        return obj is not None and request.user.has_perm("accounts.delete_user")


@admin.register(Attempts)
class AttemptsAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["key", "free_at", "forgotten_at"]
    list_display_links = None
    ordering = ["-free_at"]


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["action_time", "user", "content_type", "object_repr", "what"]
    list_unread = ["user__password"]
    list_display_links = None
    list_select_related = ["user", "content_type"]
    sortable_by = ()
    search_fields = ["user__email", "=object_id"]
    ordering = ["-id"]

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> str:
        return str(entry)


@admin.register(Audit)
class AuditAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["made_at", "tiers", "bookings", "differences"]
    list_display_links = None
    ordering = ["-id"]


@admin.register(Difference)
class DifferenceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["sentence"]
    list_display_links = None
    ordering = ["id"]
