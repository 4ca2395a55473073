"""The ASGI application: the front with its hot endpoint, and Django behind it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")

from ticketbook.wsgi import application as django  # isort: skip

from django.conf import settings

from bookings import events_api, hot_api, steps
from ticketbook.front.copies import copied_answer
from ticketbook.front.front import Front

application = Front(
    django,
    threads=settings.WEB_THREADS,
    endpoints={hot_api.ENDPOINT: hot_api.book} | events_api.endpoints(),
    copies=copied_answer,
    end=steps.end,
)
