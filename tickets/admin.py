from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ticketbook.read_only_admin import ReadOnly
from tickets.codes import BadCode, read_code
from tickets.models import Ticket


@admin.register(Ticket)
class TicketAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["code", "validity", "number", "booking", "holder_name"]
    list_select_related = ["booking__user", "booking__ticket_tier__concert"]
    fields = ["code", "booking", "number", "holder_name", "validity", "returned_at"]
    search_fields = ["=code", "=booking__user__email"]
    search_help_text = (
        "A ticket's code, as somebody reads it out, or the e-mail address of its buyer"
    )
    ordering = ["-id"]
    show_full_result_count = False

    @admin.display(description="state")
    def validity(self, ticket: Ticket) -> str:
        return str(ticket.state.label)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Ticket], search_term: str
    ) -> tuple[QuerySet[Ticket], bool]:
        # Each by its index. Django's own search would compare every ticket in capitals.
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(code=read_code(search_term)), False
        except BadCode:
            return queryset.filter(booking__user__email=search_term.strip()), False
