"""The id of the request on an error page."""

from django import template

from ticketbook import request_ids

register = template.Library()


@register.inclusion_tag("_reference.html")
def reference() -> dict[str, str]:
    return {"request_id": request_ids.current.get()}
