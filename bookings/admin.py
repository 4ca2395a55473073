"""The back office reads bookings and their money here. They change through the verbs only."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from bookings.gateways import named
from bookings.guests import name_for
from bookings.models import Booking, PaymentEvent, Refund, Return
from bookings.refunding import send_again
from ticketbook.amounts import plain
from ticketbook.read_only_admin import ReadOnly

NO_KEY = UUID(int=0)
MOST_CUSTOMERS = 100


def key_in(term: str) -> UUID | None:
    """The number that somebody has typed or pasted, if it is one."""
    with suppress(ValueError):
        return UUID(term)
    return None


def customers_like(request: HttpRequest, term: str) -> list[UUID]:
    """Customers with this in their e-mail address or name, or with this public id; not too many of them.

    They are found first, because their bookings have an index, and a join would read all bookings.
    """
    like = Q(email__icontains=term) | Q(name__icontains=term) | Q(public_id=term)
    found = User.objects.filter(like).order_by("email").values_list("pk", flat=True)
    customers = list(found[: MOST_CUSTOMERS + 1])
    if len(customers) > MOST_CUSTOMERS:
        said = (
            f"More than {MOST_CUSTOMERS} customers are like that. Type more of the address or name."
        )
        messages.warning(request, said)
    return customers[:MOST_CUSTOMERS]


class RefundInline(ReadOnly, admin.TabularInline):
    model = Refund
    fields = ["created_at", "amount", "tickets", "reason", "made_by", "note", "status", "failure"]
    readonly_fields = ["created_at"]
    ordering = ["created_at"]
    show_change_link = True


class ReturnInline(ReadOnly, admin.TabularInline):
    model = Return
    fields = ["created_at", "tickets", "numbers", "refund", "made_by", "note"]
    readonly_fields = ["created_at"]
    ordering = ["created_at"]


class GatewayFilter(admin.SimpleListFilter):
    # Django's own filter would look for the names in all bookings, each time that the list is drawn.
    title = "gateway"
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(named.paths())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(gateway=self.value()) if self.value() else queryset


@admin.register(Booking)
class BookingAdmin(ReadOnly, admin.ModelAdmin):
    inlines = [ReturnInline, RefundInline]
    list_display = [
        "created_at",
        "user",
        "ticket_tier",
        "quantity",
        "total_price",
        "status",
        "payment_status",
        "given_back",
        "gateway",
        "source",
    ]
    list_filter = ["status", "payment_status", "failure_reason", "source", GatewayFilter]
    list_select_related = ["user", "ticket_tier__concert"]
    list_unread = [
        *("user__password", "ticket_tier__concert__description"),
        *("ticket_tier__concert__search_text", "idempotency_key", "action_url"),
    ]
    sortable_by = ()  # no column has an index for it
    search_fields = ["user"]  # shows the box; get_search_results() searches
    search_help_text = "A booking's number, or a part of its customer's e-mail address or name"
    ordering = ["-id"]
    readonly_fields = ["name", "created_at"]
    fieldsets = [
        (None, {"fields": ["user", "name", "ticket_tier", "quantity", "source"]}),
        ("State", {"fields": ["status", "payment_status", "failure_reason", "called_off"]}),
        ("Given back", {"fields": ["returned_quantity", "refunded_total"]}),
        (
            "Payment",
            {"fields": ["unit_price", "total_price", "gateway", "gateway_reference", "action_url"]},
        ),
        (
            "Request",
            {
                "fields": [
                    "idempotency_key",
                    "hold_expires_at",
                    "outcome_unknown",
                    "created_at",
                    "updated_at",
                ]
            },
        ),
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Booking], search_term: str
    ) -> tuple[QuerySet[Booking], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if key := key_in(term):
            return queryset.filter(pk=key), False
        return queryset.filter(user__in=customers_like(request, term)), False

    @admin.display(description="name of the customer")
    def name(self, booking: Booking) -> str:
        return name_for(booking)

    @admin.display(description="given back")
    def given_back(self, booking: Booking) -> str:
        parts = [
            f"{booking.returned_quantity} of {booking.quantity}" * bool(booking.returned_quantity),
            plain(booking.refunded_total) * bool(booking.refunded_total),
        ]
        return "; ".join(filter(None, parts))


@admin.register(Refund)
class RefundAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["created_at", "amount", "status", "failure", "reason", "made_by", "booking"]
    list_filter = ["status", "reason"]
    list_select_related = ["booking__user", "booking__ticket_tier__concert", "made_by"]
    list_unread = [
        *("made_by__password", "booking__user__password", "booking__idempotency_key", "note"),
        "booking__ticket_tier__concert__description",
        "booking__ticket_tier__concert__search_text",
    ]
    sortable_by = ["created_at"]
    search_fields = ["booking"]  # as above
    search_help_text = (
        "The number of a refund or booking, or a part of the customer's e-mail address or name"
    )
    # By time, because the ids of refunds from before version 0002 of the tables are not in order of time.
    ordering = ["-created_at"]
    readonly_fields = ["id", "created_at"]
    actions = ["send_again"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refund], search_term: str
    ) -> tuple[QuerySet[Refund], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if key := key_in(term):
            return queryset.filter(Q(pk=key) | Q(booking=key)), False
        bookings = Booking.objects.filter(user__in=customers_like(request, term))
        return queryset.filter(booking__in=bookings.values("pk")), False

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bookings.change_refund")

    @admin.action(description="Send again (refused refunds)", permissions=["send_again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        by = request.user
        chosen = list(queryset.select_related("booking"))
        again = [refund for refund in chosen if send_again(refund, by=by)]  # type: ignore[arg-type]
        if again:
            said = f"Refunds that are sent again within a minute: {len(again)}."
            self.message_user(request, said, messages.SUCCESS)
        if len(again) < len(chosen):
            said = (
                f"Refunds that were not refused, and stay as they are: {len(chosen) - len(again)}."
            )
            self.message_user(request, said, messages.WARNING)


class AlertFilter(admin.SimpleListFilter):
    title = "alert"
    parameter_name = "alert"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "With an alert")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.exclude(alert="") if self.value() == "yes" else queryset


@admin.register(PaymentEvent)
class PaymentEventAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["received_at", "gateway", "type", "booking", "claim", "found", "alert"]
    list_filter = [AlertFilter]
    sortable_by = ()
    search_fields = ["event_id"]  # as above
    search_help_text = "The gateway's number of an event, or the number of a booking"
    ordering = ["-id"]
    fields = ["gateway", "event_id", "type", "booking", "claim", "found", "alert", "received_at",
              "handled_at"]  # fmt: skip
    readonly_fields = ["booking", "received_at"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentEvent], search_term: str
    ) -> tuple[QuerySet[PaymentEvent], bool]:
        if term := search_term.strip():
            queryset = queryset.filter(Q(event_id=term) | Q(key=key_in(term) or NO_KEY))
        return queryset, False

    def booking(self, event: PaymentEvent) -> SafeString | str:
        # An event may name a booking that is not ours. Then the link leads back with a message.
        if event.key is None:
            return ""
        page = reverse("admin:bookings_booking_change", args=[event.key])
        return format_html('<a href="{}">{}</a>', page, event.key)
