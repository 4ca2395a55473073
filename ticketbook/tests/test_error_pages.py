"""Error pages say what was charged and what to do, and show the id that the log has too."""

import json
import logging
import re

import pytest
from django.conf import settings as site_settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.http import Http404
from django.template.loader import render_to_string
from psycopg.errors import LockNotAvailable

from bookings import hot_api
from ticketbook import request_ids
from ticketbook.asgi import application
from ticketbook.errors import Throttled, TooLarge
from ticketbook.logs import LineFormatter
from ticketbook.tests.asgi import ask, echo, front_of

HEADER = "X-Request-ID"


class Fault(Exception):
    pass


def busy():
    error = OperationalError()
    error.__cause__ = LockNotAvailable()
    return error


@pytest.fixture
def page_that_raises(client, monkeypatch):
    """The list of concerts, which raises this."""
    client.raise_request_exception = False

    def get(exception, path="/?q=x", **headers):
        def fail(*args, **options):
            raise exception

        monkeypatch.setattr("concerts.models.ConcertQuerySet.with_tiers", fail)
        return client.get(path, **headers)

    return get


KINDS = [
    (BadRequest(), 400, "We could not make sense of that"),
    (PermissionDenied(), 403, "This is not for you to open"),
    (Http404(), 404, "This page is not here"),
    (Throttled(7), 429, "Try again in 7 seconds"),
    (Fault(), 500, "Sorry, something went wrong on our side"),
    (busy(), 503, "Very busy just now"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("exception", "status", "says"), KINDS, ids=[str(k[1]) for k in KINDS])
def test_each_error_says_what_was_charged_and_shows_its_id(
    page_that_raises, exception, status, says
):
    answer = page_that_raises(exception)
    html = answer.content.decode()
    assert answer.status_code == status
    assert says in html
    assert "charged" in html
    assert "css/site.css" in html
    assert f"<code>{answer[HEADER]}</code>" in html
    assert "Content-Security-Policy" in answer


@pytest.mark.django_db
def test_each_request_has_an_id_of_its_own_and_a_usual_answer_has_none(client):
    ids = {client.get("/nowhere/")[HEADER] for _ in range(3)}
    assert len(ids) == 3
    assert HEADER not in client.get("/")


@pytest.mark.django_db
def test_the_log_has_the_id_of_the_page(page_that_raises, caplog):
    answer = page_that_raises(Fault())
    line = LineFormatter("%(message)s").format(caplog.records[-1])
    assert line.startswith(f"Internal Server Error: / [{answer[HEADER]}]\n    Traceback")


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["x" * 65, "short", "<b>bold</b>", "new\nline12", "é" * 10, ""])
def test_only_a_readable_id_of_a_trusted_proxy_is_taken(client, settings, given):
    good = "proxy-0123.abc_DEF"
    assert client.get("/nowhere/", HTTP_X_REQUEST_ID=good)[HEADER] != good
    settings.TRUSTED_PROXIES = settings_of_localhost()
    assert client.get("/nowhere/", HTTP_X_REQUEST_ID=good)[HEADER] == good
    assert client.get("/nowhere/", HTTP_X_REQUEST_ID=given)[HEADER] != given


def settings_of_localhost():
    from ipaddress import ip_network

    return [ip_network("127.0.0.1/32")]


@pytest.mark.django_db
def test_a_page_of_the_front_shows_its_id(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answers = [
        ask(front_of(echo), "POST", "/", headers=[("Content-Length", "101")]) for _ in range(2)
    ]
    for answer in answers:
        assert answer.status_code == TooLarge.status
        assert f"<code>{answer[HEADER]}</code>" in answer.content.decode()
        assert "nothing was charged" in answer.content.decode()
    assert answers[0][HEADER] != answers[1][HEADER]


# --- The API ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_problems_have_the_id_from_500_on(page_that_raises, client):
    for exception, status in ((Fault(), 500), (busy(), 503)):
        answer = page_that_raises(exception, "/api/v1/concerts")
        body = json.loads(answer.content)
        assert (answer.status_code, body["requestId"]) == (status, answer[HEADER])
    refusal = client.get("/api/v1/bookings")
    assert refusal.status_code == 401
    assert HEADER not in refusal
    assert "requestId" not in refusal.json()


@pytest.mark.django_db(transaction=True)
def test_a_fault_of_the_hot_path_has_its_id_in_the_answer_and_in_the_log(
    settings, monkeypatch, caplog
):
    async def fail(*args):
        raise Fault

    settings.ALLOWED_HOSTS = ["testserver"]
    monkeypatch.setattr(hot_api, "_authenticate", fail)
    with caplog.at_level(logging.ERROR):
        ids = []
        for _ in range(2):
            answer = ask(application, "POST", "/api/v1/bookings", b"{}")
            assert (answer.status_code, answer.json()["requestId"]) == (500, answer[HEADER])
            ids.append(answer[HEADER])
    assert ids[0] != ids[1]


def test_the_page_of_a_failure_is_true_for_a_guest_whose_browser_has_not_heard_of_the_booking():
    """My bookings cannot show it then, and all the same it may have been paid."""
    drawn = render_to_string("500.html")
    assert "nothing was charged" not in drawn
    assert "without an account, go back and press the button again" in drawn


# --- For a proxy --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["500.html", "503.html"])
def test_the_static_pages_are_what_the_templates_draw(name):
    """After a change: write what this draws into static/errors/."""
    request_ids.current.set("")
    drawn = render_to_string(name)
    assert re.search("<code>", drawn) is None
    assert (site_settings.BASE_DIR / "static" / "errors" / name).read_text() == drawn
