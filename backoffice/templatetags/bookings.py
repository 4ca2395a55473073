"""What the page of a booking shows beside its columns, and the way from other pages to their bookings."""

from typing import Any

from django import template
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import User
from backoffice.timeline import Entry, timeline_of
from concerts.models import Concert, TicketTier

register = template.Library()


@register.simple_tag
def timeline(booking: Any) -> list[Entry]:
    return timeline_of(booking)


@register.filter
def page_of(row: Any) -> str:
    """The page of a row in the back office."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


@register.simple_tag(takes_context=True)
def bookings_of(context: Any, row: Any) -> str:
    """The list of the bookings of a concert, a tier or a customer; empty for other rows."""
    if not context["request"].user.has_perm("bookings.view_booking"):
        return ""
    bookings = reverse("admin:bookings_booking_changelist")
    if isinstance(row, Concert):
        return f"{bookings}?{urlencode({'concert': row.pk})}"
    if isinstance(row, TicketTier):
        return f"{bookings}?{urlencode({'concert': row.concert_id, 'tier': row.pk})}"
    return f"{bookings}?{urlencode({'q': row.email})}" if isinstance(row, User) else ""
