from typing import Any

from django import forms
from django.contrib import admin
from django.db import models, transaction
from django.db.models import DateField, ExpressionWrapper, QuerySet, Value
from django.db.models.lookups import GreaterThanOrEqual, LessThan, LessThanOrEqual
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from concerts import stock
from concerts.calling_off import call_off, was_ever_sold
from concerts.models import DAY_THERE, TODAY_THERE, Concert, ConcertQuerySet, TicketTier
from concerts.moving import tell_if_moved
from concerts.venue_times import VenueTimesForm, WallClock, WallClockField
from ticketbook.admin_forms import MergingAdmin
from ticketbook.copies.store import forget
from ticketbook.postgres import clock
from ticketbook.zones import in_words

# Set when a tier is made. After that only the verbs change stock and money.
SET_ONCE = ["concert", "tier_type", "price", "total_quantity"]

BOOKED = (
    "bookings, and bookings are never deleted, not even cancelled ones. To sell no more of these tickets, "
    "keep back those that are left."
)


def _forget_what_was_read() -> None:
    forget()
    stock.forget_snapshots()


class SeenAtOnce(MergingAdmin):
    """This process shows what staff change from the commit on; all others do within a second."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_fields(request, obj)
        # A new row has no times yet.
        times = set() if obj else {"created_at", "updated_at"}
        return [field for field in fields if field not in times]

    def save_related(self, *args: Any) -> None:
        super().save_related(*args)  # the last step of saving
        transaction.on_commit(_forget_what_was_read)

    def delete_model(self, *args: Any) -> None:
        super().delete_model(*args)
        transaction.on_commit(_forget_what_was_read)

    def delete_queryset(self, *args: Any) -> None:
        super().delete_queryset(*args)
        transaction.on_commit(_forget_what_was_read)


class TicketTierForm(forms.ModelForm):
    def save(self, commit: bool = True) -> TicketTier:
        if self.instance._state.adding:
            stock.stock_up(self.instance)
        tier: TicketTier = super().save(commit)
        return tier


class TierFormSet(forms.BaseInlineFormSet):
    """Says in the line, and above the lines, that a kind of ticket is there twice."""

    def get_unique_error_message(self, unique_check: Any) -> str:
        return f"{self.get_form_error()} A concert has one tier of each type."

    def get_form_error(self) -> str:
        return "The concert has a tier of this type already. Choose another type."


class TicketTierInline(admin.TabularInline):
    model = TicketTier
    formset = TierFormSet
    form = TicketTierForm
    fields = [
        "tier_type",
        "price",
        "total_quantity",
        "kept_back",
        "available_quantity",
        "max_per_customer",
    ]
    readonly_fields = ["kept_back", "available_quantity"]
    extra = 0
    max_num = len(TicketTier.Type)
    can_delete = False
    show_change_link = True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # existing tiers are only shown here; new ones can be added


class ShownStatus(forms.HiddenInput):
    """The status as text. The form sends it back, but only the verbs of a concert offer another one."""

    is_hidden = False  # so that the admin draws it as a field with its label

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = dict(Concert.Status.choices).get(value, value)
        return format_html(
            '<div class="readonly">{}</div>{}', shown, super().render(name, value, attrs, renderer)
        )


class ConcertForm(VenueTimesForm):
    """Its status may be sent, also to call the concert off, but the page offers that by buttons only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        status: Any = self.fields.get("status")
        if status is None:  # shown to somebody who may not change it
            return
        if self.instance._state.adding:
            status.widget.choices = Concert.Status.choices[:2]
            status.help_text = (
                "Only staff see a draft. You can publish it later, with a button of its page."
            )
        else:
            status.widget = ShownStatus()
            status.help_text = (
                "To change it, use the buttons on top. Each says first what it will do."
            )

    def clean_status(self) -> str:
        status: str = self.cleaned_data["status"]
        if "status" in self.changed_data and self.instance.status == Concert.Status.CANCELLED:
            raise forms.ValidationError(
                "This concert was called off, and its buyers were told so. Add a new concert instead.",
                code="called_off",
            )
        hides = "status" in self.changed_data and status == Concert.Status.DRAFT
        if hides and (self._is_sold() or was_ever_sold(self.instance)):
            raise forms.ValidationError(
                "Tickets of this concert were booked, so it cannot be hidden from its customers. Call it "
                "off instead.",
                code="sold",
            )
        return status

    def _is_sold(self) -> bool:
        # The tiers stay locked until this form is saved, so that nobody buys in between.
        tiers = TicketTier.objects.filter(concert=self.instance.pk).locked()
        return any(tier.taken_quantity for tier in tiers)


class DayFilter(admin.SimpleListFilter):
    """By the calendar of each concert's venue."""

    title = "date"
    parameter_name = "day"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("today", "Today"),
            ("week", "Today and the next 7 days"),
            ("month", "Today and the next 30 days"),
            ("past", "Before today"),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Concert]
    ) -> QuerySet[Concert] | None:
        days = {"today": 0, "week": 7, "month": 30}.get(str(self.value()))
        if self.value() == "past":
            return queryset.filter(LessThan(DAY_THERE, TODAY_THERE))
        if days is None:
            return queryset
        last = ExpressionWrapper(TODAY_THERE + Value(days), output_field=DateField())
        return queryset.filter(
            GreaterThanOrEqual(DAY_THERE, TODAY_THERE), LessThanOrEqual(DAY_THERE, last)
        )


@admin.register(Concert)
class ConcertAdmin(SeenAtOnce):
    form = ConcertForm
    inlines = [TicketTierInline]
    list_display = ["name", "artist", "venue", "begins", "status"]
    list_unread = ["description", "search_text"]
    list_filter = ["status", DayFilter]
    search_fields = ["name", "artist", "venue"]  # shows the box; get_search_results() searches
    ordering = ["date"]
    readonly_fields = ["created_at", "updated_at"]
    formfield_overrides = {
        models.DateTimeField: {"form_class": WallClockField, "widget": WallClock}
    }
    # Whoever may only look at a concert sees these instead of the form's fields.
    in_words = {"date": "begins", "sales_open_at": "sales_open", "sales_close_at": "sales_close"}

    def view_on_site(self, obj: Concert) -> str:
        return reverse("concert", args=[obj.pk])  # also of a draft, which only staff see

    def get_fields(self, request: HttpRequest, obj: Concert | None = None) -> Any:
        fields = super().get_fields(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fields
        return [self.in_words.get(str(name), name) for name in fields]

    @admin.display(description="date", ordering="date")
    def begins(self, concert: Concert) -> str:
        return in_words(concert.date, concert.time_zone)

    @admin.display(empty_value="-")
    def sales_open(self, concert: Concert) -> str | None:
        opens = concert.sales_open_at
        return in_words(opens, concert.time_zone) if opens else None

    @admin.display(empty_value="-")
    def sales_close(self, concert: Concert) -> str | None:
        closes = concert.sales_close_at
        return in_words(closes, concert.time_zone) if closes else None

    def save_model(
        self, request: HttpRequest, obj: Concert, form: forms.ModelForm, change: bool
    ) -> None:
        before = Concert.objects.get(pk=obj.pk) if change else None
        super().save_model(request, obj, form, change)
        if before is not None:
            tell_if_moved(before, obj, now=clock.now())
        if change and "status" in form.changed_data and obj.status == Concert.Status.CANCELLED:
            said = call_off(obj.pk, by=request.user, now=clock.ask())  # type: ignore[arg-type]
            self.message_user(request, " ".join(["The concert is called off.", *said]))

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[ConcertQuerySet, bool]:
        return queryset.matching(search_term), False


@admin.register(TicketTier)
class TicketTierAdmin(SeenAtOnce):
    form = TicketTierForm
    list_display = [
        "concert",
        "tier_type",
        "price",
        "total_quantity",
        "kept_back",
        "available_quantity",
    ]
    list_filter = ["tier_type"]
    list_select_related = ["concert"]
    list_unread = ["concert__description", "concert__search_text"]
    search_fields = ["concert__name", "concert__artist"]  # as above
    autocomplete_fields = ["concert"]
    readonly_fields = ["kept_back", "available_quantity", "created_at", "updated_at"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TicketTier], search_term: str
    ) -> tuple[QuerySet[TicketTier], bool]:
        if search_term:
            queryset = queryset.filter(concert__in=Concert.objects.matching(search_term))
        return queryset, False

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        deleted, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, perms_needed, [BOOKED] if protected else protected

    def get_readonly_fields(self, request: HttpRequest, obj: TicketTier | None = None) -> list[str]:
        return [*self.readonly_fields, *(SET_ONCE if obj else [])]
