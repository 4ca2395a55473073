"""The QR code of a ticket in a page."""

from django import template
from django.utils.safestring import SafeString

from tickets import qr as qr_code
from tickets.models import Ticket

register = template.Library()


@register.simple_tag
def qr(ticket: Ticket) -> SafeString:
    title = f"QR code of ticket {ticket.number}"
    return qr_code.svg(ticket.token, title)
