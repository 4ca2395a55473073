"""The buttons of a row's verbs."""

from typing import Any

from django import template

from backoffice.verbs.page import verbs_for
from backoffice.verbs.verb import Verb

register = template.Library()


@register.simple_tag(takes_context=True)
def verbs_of(context: Any, row: Any) -> list[tuple[Verb[Any], str]]:
    """Each verb that may be used on the row, with the address of its page."""
    return [(verb, verb.address(row)) for verb in verbs_for(context["request"], row)]
