"""A mail says one thing as text and as HTML, and nothing that people type changes its form."""

import email
import email.policy
import re
import uuid

import pytest

from mail import kinds
from mail.composing import compose, isolated, one_line, short
from mail.kinds import Letter, Picture
from mail.models import Mail
from mail.outbox import post

pytestmark = pytest.mark.django_db

MARKUP = "<b>Ann</b> & <script>alert(1)</script>"
HEBREW = "שלום עולם"


def letter(**changes):
    facts = {"name": "Ann", "details": [("Concert", "Night")], "link": ("Look", "https://x.test/1")}
    subject = changes.pop("subject", "News")
    files = {name: changes.pop(name, ()) for name in ("attachments", "pictures")}
    return Letter(subject, "bookings/mail/moved", facts | changes, **files)


def composed(**changes):
    """The mail as a program for mails reads it."""
    kinds.register("news", lambda mail: letter(**changes))
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    message = compose(Mail.objects.latest("id"))
    return email.message_from_bytes(message.message().as_bytes(), policy=email.policy.default)


def bodies(message):
    return [message.get_body([kind]).get_content() for kind in ("plain", "html")]


def test_text_and_html_say_the_same():
    text, html = bodies(composed())
    for said in ("Ann", "Night", "https://x.test/1", "has changed", "unsubscribe", "because"):
        assert said in text
        assert said in html
    assert "<" not in text
    assert text.startswith("Your concert has moved\n\nHello Ann,\n\n")
    assert "\n\n\n" not in text


def test_a_mail_has_no_pictures_scripts_or_style_sheets():
    _, html = bodies(composed())
    for tag in ("<img", "<style", "<script", "<link", "url("):
        assert tag not in html


def test_markup_is_text():
    text, html = bodies(composed(name=MARKUP, details=[("Concert", MARKUP)], subject=MARKUP))
    assert MARKUP in text
    assert MARKUP not in html
    assert html.count("&lt;script&gt;") == 3  # the title too


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r", "\x0b", "\u2028", "\x00", "\x85"])
def test_no_subject_makes_a_header(breaks):
    message = composed(subject=f"Night{breaks}Bcc: eve@example.com")
    assert message["Subject"] == "Night Bcc: eve@example.com"
    assert message["Bcc"] is None


def test_headers_say_whose_mail_it_is_and_that_a_program_sent_it(settings):
    message = composed()
    mail = Mail.objects.get()
    assert message["Message-ID"] == mail.message_id
    assert message["From"] == settings.DEFAULT_FROM_EMAIL
    assert message["To"] == "ann@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == mail.made_at.replace(microsecond=0)


@pytest.mark.parametrize("text", ["🎸" * 150, HEBREW * 30, "x" * 500, "Ā" * 300])
def test_a_long_or_foreign_subject_arrives_as_it_was(text):
    message = composed(subject=f"Moved: {text}", name=text, details=[("Concert", text)])
    assert message["Subject"].strip() == f"Moved: {text}"  # Python reads a fold as a space
    assert all(len(line) <= 998 for line in message.as_bytes().splitlines())
    assert all(text in body for body in bodies(message))


def test_a_subject_that_looks_encoded_is_shown_as_it_is():
    assert composed(subject="=?utf-8?q?x=0ABcc:?=")["Subject"] == "= ?utf-8?q?x=0ABcc:?="


def test_names_are_drawn_in_their_own_direction():
    text, html = bodies(composed(name=HEBREW, details=[("Concert", HEBREW)]))
    assert f"Concert: \u2068{HEBREW}\u2069" in text
    assert f"<bdi>{HEBREW}</bdi>" in html
    assert 'dir="auto"' in html
    assert isolated("Ann") == "Ann"


def test_attachments_come_along():
    message = composed(
        attachments=[("a.pdf", b"%PDF-1", "application/pdf"), ("a.ics", b"BEGIN", "text/calendar")]
    )
    files = {part.get_filename(): part.get_content_type() for part in message.iter_attachments()}
    assert files == {"a.pdf": "application/pdf", "a.ics": "text/calendar"}


def test_pictures_come_with_the_html_and_are_no_attachments():
    pictures = [Picture(b"\x89PNG 1", "First <1>", 'instead of "1"', 100)] * 2
    message = composed(pictures=pictures, attachments=[("a.pdf", b"%PDF-1", "application/pdf")])
    text, html = bodies(message)
    assert "First" not in text
    assert html.count("First &lt;1&gt;") == html.count('alt="instead of &quot;1&quot;"') == 2
    named = re.findall(r'<img src="cid:([^"]+)"', html)
    parts = {part["Content-ID"]: part for part in message.walk() if part["Content-ID"]}
    assert list(parts) == [f"<{name}>" for name in named]
    assert len(set(named)) == 2
    assert all(Mail.objects.get().message_id.strip("<>") in name for name in named)
    for part in parts.values():
        assert (part.get_content(), part.get_content_type()) == (b"\x89PNG 1", "image/png")
        assert part.get_content_disposition() == "inline"
    assert [part.get_filename() for part in message.iter_attachments()] == ["a.pdf"]
    assert message.get_content_type() == "multipart/mixed"
    assert message.get_body(["html"]) is not None
    assert message.get_body(["related"]).get_content_type() == "multipart/related"


def test_a_subject_is_one_line_and_short():
    assert one_line(" a\t b\n\nc ") == "a b c"
    assert short("a" * 9, 9) == "a" * 9
    assert short("abc defghij", 5) == "abc…"


def test_paragraphs_of_the_html_are_those_of_the_text():
    _, html = bodies(composed(details=[("Concert", MARKUP)]))
    assert html.startswith("<!doctype html>")
    assert "<br>" not in html.partition("<table")[0]
    assert html.partition("<table")[0].count("<p>") == 2  # the greeting and the words
