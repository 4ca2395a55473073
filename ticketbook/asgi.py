"""The ASGI application: the front, with the doors that are hot and Django behind it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")

from ticketbook.wsgi import application as django  # isort: skip

from django.conf import settings

from bookings import door, steps
from ticketbook.front.copies import copied_answer
from ticketbook.front.front import Front

application = Front(
    django,
    threads=settings.WEB_THREADS,
    doors={("POST", "/api/v1/bookings"): door.book},
    copies=copied_answer,
    end=steps.end,
)
