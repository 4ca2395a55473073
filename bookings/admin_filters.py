"""The filters of the list of bookings. Each finds its bookings by an index."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date
from django.utils.text import capfirst

from bookings.gateways import named
from bookings.searching import key_in
from concerts.models import Concert, TicketTier
from ticketbook.postgres import clock
from ticketbook.zones import local

Rows = QuerySet[Any]


class GatewayFilter(admin.SimpleListFilter):
    # Django's own filter would look for the names in all bookings, each time that the list is drawn.
    title = "way to pay"
    parameter_name = "gateway"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(
            ((name, capfirst(named.in_words(name))) for name in named.paths()),
            key=lambda each: each[1],
        )

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(gateway=self.value()) if self.value() else queryset


class FormFilter(admin.SimpleListFilter):
    """A filter whose value is chosen in a small form, because there are too many to list."""

    template = "admin/bookings/filter_by_form.html"
    form: forms.Form

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        """One entry: the form, what else the address has, and where everything is shown."""
        name = str(self.parameter_name)
        others = {each: value for each, value in changelist.params.items() if each != name}
        yield {
            "kept": others,
            "all": changelist.get_query_string(remove=[name]),
            "links": self._links(changelist),
        }

    def _links(self, changelist: Any) -> list[Any]:
        return list(super().choices(changelist)) if self.lookup_choices else []


class NamedAutocomplete(AutocompleteSelect):
    """Django's has no name for screen readers."""

    @property
    def media(self) -> forms.Media:
        after = "admin/js/autocomplete.js"
        return super().media + forms.Media(js=[after, "js/named-autocomplete.js"])

    def build_attrs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super().build_attrs(*args, **kwargs) | {"data-placeholder": "Every concert"}


class ConcertForm(forms.Form):
    concert = forms.ModelChoiceField(
        Concert.objects.only("name", "artist", "date", "time_zone"),
        required=False,
        widget=NamedAutocomplete(
            TicketTier._meta.get_field("concert"), admin.site, attrs={"data-width": "100%"}
        ),
    )


class ConcertFilter(FormFilter):
    title = "concert"
    parameter_name = "concert"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset
        tiers = TicketTier.objects.filter(concert=key_in(str(self.value()))).order_by()
        return queryset.filter(ticket_tier__in=list(tiers.values_list("pk", flat=True)))

    @property
    def form(self) -> forms.Form:  # type: ignore[override]
        key = key_in(str(self.value()))
        return ConcertForm(initial={"concert": key}, auto_id="filter-%s")


class TierFilter(admin.SimpleListFilter):
    """The tiers of the concert by which the list is filtered. A link may also name a tier alone."""

    title = "tier"
    parameter_name = "tier"

    def has_output(self) -> bool:
        return bool(self.lookup_choices or self.value())

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        concert, tier = key_in(request.GET.get("concert", "")), key_in(request.GET.get("tier", ""))
        if not concert and not tier:
            return []
        tiers = TicketTier.objects.select_related("concert")
        which = {"concert": concert} if concert else {"pk": tier}
        return [
            (str(each.pk), each.get_tier_type_display() if concert else str(each))
            for each in tiers.filter(**which).by_price()
        ]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset
        return queryset.filter(ticket_tier=key_in(str(self.value())))


class DayForm(forms.Form):
    booked = forms.DateField(
        required=False, label="On this day", widget=forms.DateInput(attrs={"type": "date"})
    )


class DayFilter(FormFilter):
    """By the day on which it was booked, by the clock of the house (TIME_ZONE)."""

    title = "day of booking"
    parameter_name = "booked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("hour", "The last hour"),
            ("today", "Today"),
            ("yesterday", "Yesterday"),
            ("week", "The last 7 days"),
            ("month", "The last 30 days"),
        ]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset
        if self.value() == "hour":
            lately: Rows = queryset.made_between(clock.now() - timedelta(hours=1))  # type: ignore[attr-defined]
            return lately
        days = self._days(str(self.value()))
        if days is None:
            return queryset.none()
        begin, end = map(_begin_of, days)
        made: Rows = queryset.made_between(begin, end)  # type: ignore[attr-defined]
        return made

    def _days(self, value: str) -> tuple[date, date] | None:
        """The first day, and the one after the last; None if the value names none."""
        today, day = local(clock.now(), settings.TIME_ZONE).date(), timedelta(days=1)
        if value in (back := {"today": 1, "week": 7, "month": 30}):
            return today + day - back[value] * day, today + day
        if value == "yesterday":
            return today - day, today
        one = self._typed(value)
        return (one, one + day) if one else None

    def _typed(self, value: str) -> date | None:
        try:
            one = parse_date(value)
        except ValueError:
            return None
        return one if one and 1970 < one.year < 9999 else None

    @property
    def form(self) -> forms.Form:  # type: ignore[override]
        return DayForm(initial={"booked": self._typed(str(self.value()))}, auto_id="filter-%s")


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(settings.TIME_ZONE))
