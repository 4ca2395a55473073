from contextlib import suppress

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from bookings.admin import bookings_found
from bookings.searching import key_in
from ticketbook.read_only_admin import ReadOnly
from tickets.codes import BadCode, read_code
from tickets.models import Ticket


@admin.register(Ticket)
class TicketAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["code", "validity", "number", "booking", "holder_name"]
    list_select_related = ["booking__user", "booking__ticket_tier__concert"]
    list_unread = [
        *("booking__user__password", "booking__idempotency_key"),
        "booking__ticket_tier__concert__description",
        "booking__ticket_tier__concert__search_text",
    ]
    sortable_by = ["code"]  # no other column has an index
    fields = ["code", "booking", "number", "holder_name", "validity", "returned_at"]
    search_fields = ["code"]  # shows the box; get_search_results() searches
    search_help_text = (
        "A ticket's code, as somebody reads it out, the number of a booking, or a part of its customer's "
        "e-mail address or name"
    )
    ordering = ["-id"]

    @admin.display(description="state")
    def validity(self, ticket: Ticket) -> str:
        return str(ticket.state.label)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Ticket], search_term: str
    ) -> tuple[QuerySet[Ticket], bool]:
        # Each by its index. Django's own search would compare every ticket in capitals.
        if not (term := search_term.strip()):
            return queryset, False
        if key := key_in(term):
            return queryset.filter(booking=key), False
        with suppress(BadCode):
            return queryset.filter(code=read_code(term)), False
        return queryset.filter(booking__in=bookings_found(request, term).values("pk")), False
