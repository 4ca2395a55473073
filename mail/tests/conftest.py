from urllib.parse import urlsplit

import pytest

from mail import kinds
from mail.kinds import Letter
from mail.tests.smtp import MailServer


@pytest.fixture(autouse=True)
def news(monkeypatch):
    """Register a kind of mail for these tests only."""
    monkeypatch.setattr(kinds, "_renderers", {"news": lambda mail: NEWS})


NEWS = Letter("News: a concert", "bookings/mail/_booking", {"name": "Ann"})


@pytest.fixture
def use_server(settings):
    def use(url):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "127.0.0.1"
        settings.EMAIL_PORT = urlsplit(url).port

    return use


@pytest.fixture
def server(use_server):
    with MailServer() as server:
        use_server(server.url)
        yield server
