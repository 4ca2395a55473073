"""How full something is, as a bar. Drawn without a template, because a list has a hundred of them."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backoffice.figures import Fill

register = template.Library()

BAR = (
    '<svg class="fill" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
    '<rect class="house" width="100" height="4"/><rect class="taken" width="{}" height="4"/>'
    '<rect class="kept" x="{}" width="{}" height="4"/></svg>'
)


@register.simple_tag
def bar(fill: Fill) -> SafeString:
    return format_html(BAR, fill.percent, fill.percent, fill.percent_kept_back)
