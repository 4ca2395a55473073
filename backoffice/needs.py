"""What needs somebody: on the first page with its number, and as a filter of the list of these rows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from backoffice.models import Difference
from bookings.models import Booking, PaymentEvent, Refund
from concerts.models import Concert
from mail.models import Mail
from ticketbook.postgres import clock

PARAMETER = "needs"
# The job sends a refund within a minute and tries again all the time, so after this something is wrong.
SENT_WITHIN = timedelta(minutes=10)

Rows = QuerySet[Any]


@dataclass(frozen=True)
class Need:
    name: str  # in addresses
    title: str
    what_to_do: str
    model: Any  # type[Model]; each has `objects`
    among: Callable[[Any, datetime], Rows]  # those of the rows that need somebody now

    def number(self, now: datetime) -> int:
        return self.among(self.model.objects.all(), now).count()

    @property
    def url(self) -> str:
        """The list of exactly these rows."""
        changelist = f"admin:{self.model._meta.app_label}_{self.model._meta.model_name}_changelist"
        return f"{reverse(changelist)}?{PARAMETER}={self.name}"


def _due_for_long(refunds: Any, now: datetime) -> Rows:
    rows: Rows = refunds.due().filter(created_at__lte=now - SENT_WITHIN)
    return rows


NEEDS = [
    Need(
        "overdue",
        "Holds past their time",
        "The worker asks the payment gateway about each of them every ten seconds. If the number stays, the "
        "worker does not run: tell the people who run the site.",
        Booking,
        lambda bookings, now: bookings.expiry_due(now),
    ),
    Need(
        "refused",
        "Refunds that the gateway refused",
        "Open one to read why. Mend the cause with the gateway, choose the refunds, and send them again.",
        Refund,
        lambda refunds, now: refunds.filter(status=Refund.Status.FAILED),
    ),
    Need(
        "due",
        "Refunds due for more than ten minutes",
        "They are tried again until they are sent. Ask the gateway whether it has a failure.",
        Refund,
        _due_for_long,
    ),
    Need(
        "cash",
        "Bookings with cash to hand over",
        "Give the customer the money, and then press “Cash was handed over” on the page of the booking.",
        Booking,
        lambda bookings, now: bookings.with_cash_to_hand_over(),
    ),
    Need(
        "failed",
        "Mails that failed",
        "Open one to read why. If the address is right, choose the mails and send them again.",
        Mail,
        lambda mails, now: mails.failed(),
    ),
    Need(
        "alerts",
        "Disputes, and payments on which gateway and webhook disagree",
        "The alert says what it is. Compare the booking with the gateway's own page.",
        PaymentEvent,
        lambda events, now: events.exclude(alert=""),
    ),
    Need(
        "undescribed",
        "Concerts on sale without a description",
        "Open the concert and say what people are going to hear.",
        Concert,
        lambda concerts, now: concerts.on_sale(now).filter(description=""),
    ),
    Need(
        "differences",
        "Differences that the last audit found",
        "Tell the people who run the site: stock, money or tickets do not agree with the bookings.",
        Difference,
        lambda differences, now: differences,
    ),
]


def needs_of(model: type[Model]) -> list[Need]:
    return [need for need in NEEDS if need.model is model]


def needs_for(site: admin.AdminSite, request: HttpRequest) -> list[Need]:
    """The needs whose rows this member of staff may see."""
    return [
        need
        for need in NEEDS
        if site.is_registered(need.model)
        and site.get_model_admin(need.model).has_view_permission(request)
    ]


def need_of(request: HttpRequest, model: type[Model]) -> Need | None:
    """The need by which this list is filtered."""
    name = request.GET.get(PARAMETER)
    return next((need for need in needs_of(model) if need.name == name), None)


class NeedsFilter(admin.SimpleListFilter):
    title = "needs you"
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(need.name, need.title) for need in needs_of(model_admin.model)]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        need = need_of(request, queryset.model)
        return need.among(queryset, clock.now()) if need else queryset
