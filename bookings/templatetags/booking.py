from typing import Any
from uuid import uuid4

from django import template
from django.template.context import RequestContext

from bookings.forms import BookingForm
from concerts.sales import Sale

register = template.Library()


@register.inclusion_tag("bookings/_form.html", takes_context=True)
def booking_form(context: RequestContext, sale: Sale) -> dict[str, Any]:
    """The form of a concert's page, as it was sent or fresh. It lives here, because concerts know no
    bookings. A page that is drawn once for many brings an idempotency_key to be replaced."""
    key = context.get("idempotency_key") or uuid4()
    return {
        "sale": sale,
        "form": context.get("form") or new_form(sale, context["request"].GET, key=key),
        "user": context.get("user"),
    }


def new_form(sale: Sale, chosen: dict[str, str], *, key: object) -> BookingForm:
    """`chosen` may hold tier and quantity: a choice made before logging in, or that was declined."""
    left = [tier.pk for tier in sale.tiers if tier.available_quantity]
    only = left[0] if len(left) == 1 else ""
    return BookingForm(
        initial={
            "tier": chosen.get("tier", only),
            "quantity": chosen.get("quantity", 1),
            "idempotency_key": key,
        }
    )
