"""The sentence above each list of the back office, and the one that an empty list shows."""

from typing import Any

from django import template

from backoffice.lists import LISTS, List
from backoffice.needs import Need, need_of

register = template.Library()


@register.simple_tag
def words_of(cl: Any) -> List | None:
    return LISTS.get(cl.model._meta.label)


@register.simple_tag(takes_context=True)
def need_shown(context: Any, cl: Any) -> Need | None:
    """The need that the list is filtered by; None if it is not."""
    return need_of(context["request"], cl.model)
