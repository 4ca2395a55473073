from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from concerts import stock
from concerts.models import Concert, ConcertQuerySet, TicketTier
from ticketbook.copies.store import forget

# Set when a tier is made. After that only the verbs change stock and money.
SET_ONCE = ["concert", "tier_type", "price", "total_quantity"]


def _forget_what_was_read() -> None:
    forget()
    stock.forget_snapshots()


class SeenAtOnce(admin.ModelAdmin):
    """This process shows what staff change from the commit on; all others do within a second."""

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


class TicketTierInline(admin.TabularInline):
    model = TicketTier
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


class ConcertForm(forms.ModelForm):
    def clean_status(self) -> str:
        status: str = self.cleaned_data["status"]
        hides = "status" in self.changed_data and status == Concert.Status.DRAFT
        if hides and self._is_sold():
            raise forms.ValidationError(
                "Tickets of this concert are sold or held, so it cannot be hidden. Choose CANCELLED to call "
                "it off.",
                code="sold",
            )
        return status

    def _is_sold(self) -> bool:
        # The tiers stay locked until this form is saved, so that nobody buys in between.
        tiers = TicketTier.objects.filter(concert=self.instance.pk).locked()
        return any(tier.taken_quantity for tier in tiers)


@admin.register(Concert)
class ConcertAdmin(SeenAtOnce):
    form = ConcertForm
    inlines = [TicketTierInline]
    list_display = ["name", "artist", "venue", "date", "status"]
    list_filter = ["status", "date"]
    search_fields = ["name", "artist", "venue"]  # shows the box; get_search_results() searches
    date_hierarchy = "date"
    ordering = ["date"]
    readonly_fields = ["created_at", "updated_at"]

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
    search_fields = ["concert__name", "concert__artist"]  # as above
    autocomplete_fields = ["concert"]
    readonly_fields = ["kept_back", "available_quantity", "created_at", "updated_at"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TicketTier], search_term: str
    ) -> tuple[QuerySet[TicketTier], bool]:
        if search_term:
            queryset = queryset.filter(concert__in=Concert.objects.matching(search_term))
        return queryset, False

    def save_model(
        self, request: HttpRequest, obj: TicketTier, form: forms.ModelForm, change: bool
    ) -> None:
        # Only what was changed is written, because the counters move while staff look at the form.
        obj.save(update_fields=[*form.changed_data, "updated_at"] if change else None)

    def get_readonly_fields(self, request: HttpRequest, obj: TicketTier | None = None) -> list[str]:
        return [*self.readonly_fields, *(SET_ONCE if obj else [])]
