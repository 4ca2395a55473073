from django import template

from mail.composing import isolated

register = template.Library()
register.filter(isolated)
