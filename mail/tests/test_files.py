"""Without a mail server, mails are files that one can open."""

import email
import email.policy
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured

from mail.models import Mail
from mail.outbox import post
from mail.sending import send_due
from ticketbook.environment import mail_server, sender
from ticketbook.postgres import clock


@pytest.fixture
def folder(settings, tmp_path):
    settings.EMAIL_BACKEND = "mail.files.Files"
    settings.EMAIL_FILE_PATH = tmp_path / "new" / "mail"
    return settings.EMAIL_FILE_PATH


@pytest.mark.django_db
def test_a_mail_is_a_file(folder):
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    send_due(now=clock.ask())
    [file] = folder.iterdir()
    assert file.name.endswith(".news.eml")
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert message["To"] == "ann@example.com"
    assert Mail.objects.get().status == "SENT"


@pytest.mark.django_db
def test_a_second_copy_replaces_the_first(folder):
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    send_due(now=clock.ask())
    Mail.objects.update(status="WAITING", sent_at=None, next_attempt_at=clock.ask())
    send_due(now=clock.ask())
    assert len(list(folder.iterdir())) == 1


@pytest.mark.django_db
def test_a_folder_that_cannot_be_used_delays_mails(folder):
    folder.parent.write_text("no folder")
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    assert not send_due(now=clock.ask())
    assert Mail.objects.get().status == "WAITING"


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"),
    [
        ("smtp://mail.test", 25, False, False),
        ("smtp+tls://u:p%40@mail.test", 587, True, False),
        ("smtp+ssl://mail.test", 465, False, True),
        ("smtp://mail.test:2525", 2525, False, False),
    ],
)
def test_the_url_of_a_mail_server(monkeypatch, url, port, tls, ssl):
    monkeypatch.setenv("EMAIL_URL", url)
    server = mail_server("EMAIL_URL")
    assert (server["EMAIL_HOST"], server["EMAIL_PORT"]) == ("mail.test", port)
    assert server.get("EMAIL_USE_TLS", False) is tls
    assert server.get("EMAIL_USE_SSL", False) is ssl
    if "@" in url:
        assert (server["EMAIL_HOST_USER"], server["EMAIL_HOST_PASSWORD"]) == ("u", "p@")


@pytest.mark.parametrize(
    "url",
    [
        "smtps://mail.test",
        "mail.test:25",
        "smtp://",
        "smtp://a:port",
        "smtp://mail.test:99999",
        "smtp://mail..test",
        f"smtp://{'x' * 64}",
        "smtp://mail.test ",
        "smtp://mail.test:25?ssl=1",
        "smtp://mail.test/path",
        "smtp://user@mail.test",
        "smtp://:mail.test-password@host",
        "smtp://user:mail.test-#@host",
        "smtp://user:mail.test-%C3%BC@host",
    ],
)
def test_another_url_stops_the_start_and_is_not_quoted(url, monkeypatch):
    monkeypatch.setenv("EMAIL_URL", url)
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL must name a mail server: smtp") as e:
        mail_server("EMAIL_URL")
    assert "mail.test" not in str(e.value)


@pytest.mark.parametrize(
    ("site", "value", "expected"),
    [
        ("https://tickets.example.com", "", "TicketBook <tickets@tickets.example.com>"),
        ("http://127.0.0.1:8000", "", "TicketBook <tickets@localhost>"),
        ("http://[::1]:8000", "", "TicketBook <tickets@localhost>"),
        ("https://x.test", "House <a@b.test>", "House <a@b.test>"),
        ("https://x.test", "a@b.test", "a@b.test"),
        ("https://x.test", "Bücher <a@b.test>", "Bücher <a@b.test>"),
        ("https://x.test", '"Tickets, Inc." <a@b.test>', '"Tickets, Inc." <a@b.test>'),
    ],
)
def test_whom_mails_come_from(monkeypatch, site, value, expected):
    monkeypatch.setenv("EMAIL_FROM", value)
    assert sender("EMAIL_FROM", site) == expected


@pytest.mark.parametrize(
    "value",
    [
        "The house",
        "Tickets, Inc. <a@b.test>",
        "Tickets: <a@b.test>",
        "a@b <a@b.test>",
        "a\x01 <a@b.test>",
        "House <a@b.test>\nBcc: <c@d.test>",
        "ä@b.test",
        "House <a@bücher.test>",
    ],
)
def test_a_sender_that_no_mail_could_have_stops_the_start(value, monkeypatch):
    monkeypatch.setenv("EMAIL_FROM", value)
    with pytest.raises(ImproperlyConfigured, match="is no address"):
        sender("EMAIL_FROM", "https://x.test")
