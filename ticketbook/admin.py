"""The jobs of the queue in the back office."""

from django.contrib import admin
from django.utils.safestring import SafeString, mark_safe
from procrastinate.contrib.django.admin import ProcrastinateJobAdmin
from procrastinate.contrib.django.models import ProcrastinateJob

admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ProcrastinateJobAdmin):
    # Without the inline style of the original, which our Content-Security-Policy refuses.
    @admin.display(description="Args")
    def pretty_args(self, instance: ProcrastinateJob) -> SafeString:
        styled = super().pretty_args(instance)  # what comes from the job is escaped in it
        return mark_safe(styled.replace(' style="margin: 0"', "", 1))
