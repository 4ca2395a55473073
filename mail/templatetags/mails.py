from django import template
from django.utils.html import linebreaks
from django.utils.safestring import SafeString, mark_safe

from mail.composing import isolated

register = template.Library()
register.filter(isolated)


@register.filter
def paragraphs(html: SafeString) -> SafeString:
    """What a template has rendered, as paragraphs of HTML: a blank line ends one."""
    return mark_safe(linebreaks(html.strip()))
