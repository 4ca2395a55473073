"""The back office reads bookings and their money here. They change through the verbs only."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from bookings.admin_filters import ConcertFilter, ConcertForm, DayFilter, GatewayFilter, TierFilter
from bookings.gateways import named
from bookings.guests import name_for
from bookings.models import Booking, PaymentEvent, Refund, Return
from bookings.numbers import read_number
from bookings.refunding import send_again
from bookings.searching import Search, key_in
from ticketbook.read_only_admin import ReadOnly
from ticketbook.templatetags.money import money
from ticketbook.zones import in_words

NO_KEY = UUID(int=0)


def meant_by(request: HttpRequest, text: str, *, concerts: bool = False) -> Q:
    """Which bookings staff search for. Tells them what the search has left out."""
    search = Search(text, concerts=concerts)
    for sentence in search.too_many:
        messages.warning(request, sentence)
    return search.which


def bookings_found(request: HttpRequest, text: str) -> QuerySet[Booking]:
    return Booking.objects.filter(meant_by(request, text))


class RefundInline(ReadOnly, admin.TabularInline):
    model = Refund
    classes = ["collapse"]  # the story above tells it
    fields = ["created_at", "amount", "tickets", "reason", "made_by", "note", "status", "failure"]
    readonly_fields = ["created_at"]
    ordering = ["created_at"]
    show_change_link = True


class ReturnInline(ReadOnly, admin.TabularInline):
    model = Return
    classes = ["collapse"]
    fields = ["created_at", "tickets", "numbers", "refund", "made_by", "note"]
    readonly_fields = ["created_at"]
    ordering = ["created_at"]


@admin.register(Booking)
class BookingAdmin(ReadOnly, admin.ModelAdmin):
    inlines = [ReturnInline, RefundInline]
    # Few columns, so that none is hidden by the filters.
    list_display = ["number", "state", "who", "what", "booked_at"]
    list_filter = [ConcertFilter, TierFilter, DayFilter, "status", "payment_status",
                   "failure_reason", "source", GatewayFilter]  # fmt: skip
    list_select_related = ["user", "ticket_tier__concert"]
    list_unread = [
        *("user__password", "ticket_tier__concert__description"),
        *("ticket_tier__concert__search_text", "idempotency_key", "action_url"),
    ]
    sortable_by = ()  # no column has an index for it
    search_fields = ["user"]  # shows the box; get_search_results() searches
    search_help_text = (
        "A booking's number, a ticket's code, or a part of an e-mail address, of a name, or of a concert's "
        "name or artist"
    )
    ordering = ["-id"]
    fieldsets = [
        (None, {"fields": ["number", "state", "customer", "name", "concert", "when", "tier", "tickets",
                           "price", "paid_by", "given_back", "source", "booked_at"]}),
        ("How it is kept", {
            "classes": ["collapse"],
            "fields": ["id", "status", "payment_status", "failure_reason", "called_off", "quantity",
                       "returned_quantity", "unit_price", "total_price", "refunded_total", "gateway",
                       "gateway_reference", "action_url", "outcome_unknown", "hold_expires_at",
                       "fulfilled_at", "idempotency_key", "created_at", "updated_at"],
        }),
    ]  # fmt: skip
    readonly_fields = ["number", "state", "customer", "name", "concert", "when", "tier", "tickets", "price",
                       "paid_by", "given_back", "booked_at", "id", "created_at", "fulfilled_at"]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Booking]:
        # The page of one booking shows its relations, and its __str__ does too.
        bookings: QuerySet[Booking] = super().get_queryset(request)
        return bookings.select_related("user", "ticket_tier__concert")

    @property
    def media(self) -> Media:
        return super().media + ConcertForm().media

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Booking], search_term: str
    ) -> tuple[QuerySet[Booking], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(meant_by(request, search_term, concerts=True)), False

    @admin.display(description="number")
    def number(self, booking: Booking) -> str:
        return booking.number

    @admin.display(description="state")
    def state(self, booking: Booking) -> str:
        return booking.state_in_words

    @admin.display(description="customer")
    def who(self, booking: Booking) -> SafeString | str:
        user = booking.user
        return format_html("{}<br>{}", user.name, user) if user.gets_mail else str(user)

    @admin.display(description="tickets")
    def what(self, booking: Booking) -> str:
        return f"{self.tickets(booking)} × {booking.ticket_tier}, {self.price(booking)}"

    @admin.display(description="booked")
    def booked_at(self, booking: Booking) -> str:
        return in_words(booking.created_at, booking.ticket_tier.concert.time_zone)

    @admin.display(description="name of the customer")
    def name(self, booking: Booking) -> str:
        return name_for(booking)

    @admin.display(description="customer")
    def customer(self, booking: Booking) -> SafeString:
        return _link("accounts_user", booking.user_id, booking.user)

    @admin.display(description="concert")
    def concert(self, booking: Booking) -> SafeString:
        concert = booking.ticket_tier.concert
        return _link("concerts_concert", concert.pk, f"{concert.name}, {concert.artist}")

    @admin.display(description="when and where")
    def when(self, booking: Booking) -> str:
        concert = booking.ticket_tier.concert
        return f"{in_words(concert.date, concert.time_zone)}, {concert.venue}"

    @admin.display(description="tier")
    def tier(self, booking: Booking) -> SafeString:
        tier = booking.ticket_tier
        return _link("concerts_tickettier", tier.pk, tier.get_tier_type_display())

    @admin.display(description="tickets")
    def tickets(self, booking: Booking) -> str:
        if not booking.returned_quantity:
            return str(booking.quantity)
        return f"{booking.kept_quantity} of {booking.quantity}"

    @admin.display(description="price")
    def price(self, booking: Booking) -> str:
        price = money(booking.total_price) if booking.total_price else "free"
        if booking.source != Booking.Source.ONLINE:
            price += f" ({booking.get_source_display()})"
        return price

    @admin.display(description="paid by")
    def paid_by(self, booking: Booking) -> str:
        return capfirst(booking.paid_by)

    @admin.display(description="given back", empty_value="nothing")
    def given_back(self, booking: Booking) -> str:
        returned = booking.returned_quantity
        parts = [
            f"{returned} ticket{'s' * (returned > 1)}" * bool(returned),
            money(booking.refunded_total) * bool(booking.refunded_total),
        ]
        return ", ".join(filter(None, parts))


def _link(name: str, key: object, words: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{name}_change", args=[key]), words)


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
        "The number of a refund or booking, a ticket's code, or a part of the customer's e-mail address or "
        "name"
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
        return queryset.filter(booking__in=bookings_found(request, term).values("pk")), False

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
    list_display = ["received_at", "told_by", "type", "booking", "claim", "found", "alert"]
    list_filter = [AlertFilter]
    sortable_by = ()
    search_fields = ["event_id"]  # as above
    search_help_text = "The gateway's number of an event, or the number of a booking"
    ordering = ["-id"]
    fields = ["told_by", "event_id", "type", "booking", "claim", "found", "alert", "received_at",
              "handled_at"]  # fmt: skip
    readonly_fields = ["told_by", "booking", "received_at"]

    @admin.display(description="gateway")
    def told_by(self, event: PaymentEvent) -> str:
        return capfirst(named.in_words(event.gateway))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PaymentEvent], search_term: str
    ) -> tuple[QuerySet[PaymentEvent], bool]:
        if term := search_term.strip():
            number = read_number(term)
            of_number = (
                Booking.objects.numbered(number).values_list("pk", flat=True) if number else ()
            )
            keys = [key_in(term) or NO_KEY, *of_number]
            queryset = queryset.filter(Q(event_id=term) | Q(key__in=keys))
        return queryset, False

    def booking(self, event: PaymentEvent) -> SafeString | str:
        # An event may name a booking that is not ours. Then the link leads back with a message.
        if event.key is None:
            return ""
        page = reverse("admin:bookings_booking_change", args=[event.key])
        return format_html('<a href="{}">{}</a>', page, event.key)
