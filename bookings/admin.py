from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from bookings.models import Booking


@admin.register(Booking)
class BookingAdmin(admin.ModelAdmin):
    """Bookings are read here; they change through the verbs only."""

    list_display = [
        "id",
        "user",
        "ticket_tier",
        "quantity",
        "total_price",
        "status",
        "payment_status",
    ]
    list_filter = ["status", "payment_status", "failure_reason"]
    list_select_related = ["user", "ticket_tier__concert"]
    search_fields = ["=id", "user__email", "=user__public_id"]
    ordering = ["-id"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
