"""What the page of a booking shows beside its columns."""

from typing import Any

from django import template
from django.urls import reverse

from backoffice.timeline import Entry, timeline_of

register = template.Library()


@register.simple_tag
def timeline(booking: Any) -> list[Entry]:
    return timeline_of(booking)


@register.filter
def page_of(row: Any) -> str:
    """The page of a row in the back office."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
