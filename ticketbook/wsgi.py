import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")
os.environ.setdefault("KEEP_CONNECTIONS", "on")

application = get_wsgi_application()
