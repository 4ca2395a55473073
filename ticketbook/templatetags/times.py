from datetime import UTC, datetime

from django import template
from django.utils.dateformat import format as date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ticketbook import zones

register = template.Library()


@register.simple_tag
def when(at: datetime, zone: str, form: str = zones.WORDS) -> SafeString:
    """A moment in words, by the clock of a venue in this zone, and the instant for machines."""
    return format_html(
        '<time datetime="{}">{}</time>',
        at.astimezone(UTC).isoformat(),
        zones.in_words(at, zone, form),
    )


@register.simple_tag
def moment(at: datetime, zone: str, form: str = "j M Y, H:i") -> SafeString:
    """As `when`, for a place that names the zone once for several moments."""
    shown = date_format(zones.local(at, zone), form)
    return format_html('<time datetime="{}">{}</time>', at.astimezone(UTC).isoformat(), shown)


register.filter(zones.city_time)


@register.filter
def at_venue(at: datetime, zone: str) -> datetime:
    """The moment by the clock of a venue in this zone, for the filter `date`, which leaves it so."""
    return zones.local(at, zone).replace(tzinfo=None)
