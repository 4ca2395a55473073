"""The list and the page of concerts, with what the back office knows of their bookings."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from backoffice.calling_off import holders
from backoffice.figures import Standing, Takings, TierFill, standings
from backoffice.templatetags.fills import bar
from concerts.admin import ConcertAdmin
from concerts.checklist import checklist
from concerts.models import Concert
from ticketbook.postgres import clock
from ticketbook.templatetags.money import money

# Columns, and who may see them.
FIGURES = {"sold": "concerts.view_tickettier", "paid": "bookings.view_booking"}

WHEN_AND_WHERE = {"date", "time_zone", "venue"}
TELLS_AT_ONCE = (
    "If you save another one, everybody who has tickets is told by mail at once. The button Move says first "
    "how many they are."
)

admin.site.unregister(Concert)


def _by_staff(takings: Takings) -> SafeString:
    by_source = [
        f"{number:,} {source}"
        for source, number in (
            ("house", takings.house_tickets),
            ("artist", takings.artist_tickets),
            ("door", takings.door_tickets),
        )
        if number
    ]
    if not by_source:
        return SafeString("")
    return format_html("<li>By staff: {}</li>", ", ".join(by_source))


def _line(tier: TierFill) -> tuple[str, SafeString]:
    kept = f", {tier.kept_back} kept back" if tier.kept_back else ""
    return f"{tier.kind}: {tier.taken} of {tier.capacity}{kept}", bar(tier)


@admin.register(Concert)
class ConcertDesk(ConcertAdmin):
    # Few columns, so that the money is still to be seen beside the filters.
    list_display = ["called", "when_and_where", "status", *FIGURES]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        hidden = {name for name, needed in FIGURES.items() if not request.user.has_perm(needed)}
        return [name for name in self.list_display if name not in hidden]

    def with_figures(self, concerts: list[Any], request: HttpRequest) -> list[Any]:
        """The concerts of a page of the list, with their figures (backoffice/paging.py)."""
        columns = self.get_list_display(request)
        if FIGURES.keys() & set(columns):
            found = standings(concerts, with_money="paid" in columns)
            for concert in concerts:
                concert.standing = found[concert.pk]
        return concerts

    @admin.display(description="concert", ordering="name")
    def called(self, concert: Concert) -> SafeString:
        return format_html("{}<br>{}", concert.name, concert.artist)

    @admin.display(description="when and where", ordering="date")
    def when_and_where(self, concert: Concert) -> SafeString:
        return format_html("{}<br>{}", self.begins(concert), concert.venue)

    @admin.display(description="sold or held")
    def sold(self, concert: Concert) -> SafeString:
        standing: Standing = concert.standing  # type: ignore[attr-defined]
        lines = format_html_join("", "<li><span>{}</span>{}</li>", map(_line, standing.tiers))
        lines += _by_staff(standing.takings)
        return (
            format_html('<ul class="fills">{}</ul>', lines) if lines else SafeString("No tiers yet")
        )

    @admin.display(description="money")
    def paid(self, concert: Concert) -> SafeString | str:
        takings: Takings = concert.standing.takings  # type: ignore[attr-defined]
        online = money(takings.online)
        if not takings.cash:
            return online
        return format_html("{}<br>in cash<br>{}", online, money(takings.cash))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None and obj.status == Concert.Status.PUBLISHED:
            for name in WHEN_AND_WHERE & form.base_fields.keys():
                form.base_fields[name].help_text = TELLS_AT_ONCE
        return form

    def save_model(self, request: HttpRequest, obj: Concert, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        moved = change and WHEN_AND_WHERE & set(form.changed_data)
        if moved and obj.status == Concert.Status.PUBLISHED and (told := holders(obj)):
            who = "1 customer who has" if told == 1 else f"{told:,} customers who have"
            said = f"The concert has moved, and {who} tickets will hear of it by mail."
            self.message_user(request, said, messages.WARNING)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        concert, now = context["original"], clock.now()
        if concert is not None:
            is_called_off = concert.status == Concert.Status.CANCELLED
            is_planned = not is_called_off and now < concert.date
            context["checklist"] = checklist(concert, now) if is_planned else []
            may_see = request.user.has_perm("bookings.view_booking")
            context["has_progress"] = is_called_off and may_see
        return super().render_change_form(request, context, *args, **kwargs)
