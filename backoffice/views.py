"""The first page of the back office. Staff see a part of it only if they may see the rows that it counts."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.views.decorators.http import require_safe

from backoffice.charts import Chart, Column, Part, chart
from backoffice.days import FIGURES, Day, days_until
from backoffice.figures import lately, next_houses
from backoffice.models import Audit
from backoffice.needs import needs_for
from backoffice.parts import part
from bookings import breakers
from ticketbook.postgres import clock
from ticketbook.replica.reading import read
from ticketbook.templatetags.money import money
from ticketbook.zones import city_time


def first_page(site: admin.AdminSite, request: HttpRequest) -> dict[str, Any]:
    now = clock.now()
    context: dict[str, Any] = {
        "audit_zone": city_time(settings.TIME_ZONE),
        "needs": None,
        "may_see_sales": _may_see_sales(request),
    }
    if _may_see_sales(request):
        context["pauses"] = breakers.pauses(now)
    if needs := needs_for(site, request):
        numbers = [(need, need.number(now)) for need in needs]
        context["needs"] = [(need, number) for need, number in numbers if number]
    if request.user.has_perm("backoffice.view_audit"):
        context |= {"audits": True, "audit": Audit.objects.order_by("-id").first()}
    if _may_see_houses(request):
        context["houses"] = next_houses(now)
    if _may_see_sales(request):
        context |= {"lately": lately(now), **_days(now)}
    return context


@require_safe
def sells_now(request: HttpRequest) -> HttpResponse:
    """The part of the first page that follows the sale by itself."""
    if not _may_see_sales(request):
        raise PermissionDenied
    sold = read(request, lambda: lately(clock.now()))
    return part(request, "backoffice/_sells_now.html", {"lately": sold})


def _may_see_sales(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("bookings.view_booking"))


def _may_see_houses(request: HttpRequest) -> bool:
    return bool(request.user.has_perms(["concerts.view_concert", "concerts.view_tickettier"]))


def _days(now: datetime) -> dict[str, Any]:
    days = days_until(now)
    return {
        "days": days,
        "sums": Day(
            days[0].begins_at,
            days[-1].ends_at,
            days[-1].on,
            **{name: sum(getattr(day, name) for day in days) for name in FIGURES},
        ),
        "days_of": city_time(settings.TIME_ZONE),
        "money_chart": _money_chart(days),
        "ticket_chart": _ticket_chart(days),
    }


def _money_chart(days: list[Day]) -> Chart:
    return chart(
        [
            Column(
                f"{date_format(day.on, 'D j M')}: {money(day.taken)} taken, {money(day.door_money)} in "
                f"cash, {money(day.sent_back)} sent back, {money(day.cash_back)} back in cash",
                [
                    Part("taken", day.taken),
                    Part("door", day.door_money),
                    Part("sent-back", day.sent_back, down=True),
                    Part("door", day.cash_back, down=True),
                ],
            )
            for day in days
        ]
    )


def _ticket_chart(days: list[Day]) -> Chart:
    return chart(
        [
            Column(
                f"{date_format(day.on, 'D j M')}: {day.sold_tickets} sold, {day.door_tickets} door, "
                f"{day.house_tickets} house, {day.artist_tickets} artist, {day.free_tickets} free",
                [
                    Part("taken", Decimal(day.sold_tickets)),
                    Part("door", Decimal(day.door_tickets)),
                    Part("free", Decimal(day.given_tickets)),
                ],
            )
            for day in days
        ]
    )
