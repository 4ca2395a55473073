"""The buttons of a row's verbs."""

from typing import Any

from django import template

from backoffice.verbs.page import verbs_for
from backoffice.verbs.verb import Verb
from concerts.models import Concert, TicketTier

register = template.Library()


@register.simple_tag(takes_context=True)
def verbs_of(context: Any, row: Any) -> list[tuple[Verb[Any], str]]:
    """Each verb that may be used on the row, with the address of its page."""
    return [(verb, verb.address(row)) for verb in verbs_for(context["request"], row)]


@register.simple_tag(takes_context=True)
def verbs_of_tiers(context: Any, row: Any) -> list[tuple[TicketTier, list[tuple[Verb[Any], str]]]]:
    """The tiers of a concert, each with its verbs; none if the row is no concert."""
    if not isinstance(row, Concert):
        return []
    tiers = TicketTier.objects.filter(concert=row).by_price()
    return [(tier, verbs) for tier in tiers if (verbs := verbs_of(context, tier))]
