from decimal import Decimal

from django import template
from django.conf import settings

from ticketbook.amounts import decimals, is_exact, plain

register = template.Library()
register.filter(plain)  # for what the site reads again

# Only signs that people read as one currency here; any other is named by its code.
SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


@register.filter
def money(amount: Decimal) -> str:
    """An amount in CURRENCY, as people write it: $1,250.00, or JPY 1,250."""
    sign = SIGNS.get(settings.CURRENCY, f"{settings.CURRENCY}\N{NO-BREAK SPACE}")
    digits = decimals() if is_exact(amount) else 2  # never rounded
    return f"{sign}{amount:,.{digits}f}"
