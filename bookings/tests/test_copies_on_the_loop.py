"""Copies that the event loop answers: the same response as on a thread, and only to those it is meant for."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import pytest

from bookings.tests.addresses import KINDS, address
from bookings.tests.api_client import by_django
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from ticketbook.asgi import application
from ticketbook.copies import store
from ticketbook.copies.responses import CopiesMiddleware
from ticketbook.front import front
from ticketbook.tests.asgi import ask

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("our_host", "clock")]


@pytest.fixture
def on_the_loop(busy, monkeypatch):
    """Counts the requests that the loop has answered (True) or left to a thread (False)."""
    answered = Counter()
    real = application.copies

    def count(scope):
        answer = real(scope)
        answered[answer is not None] += 1
        return answer

    monkeypatch.setattr(application, "copies", count)
    return answered


def plain(answer):
    """The answer without what is new on every visit."""
    own = rb'name="(csrfmiddlewaretoken|idempotency_key)" value="[\w-]+"'
    headers = {n: re.sub("csrftoken=\\w+; expires=[^;]+", "", v) for n, v in answer.headers.items()}
    return answer.status_code, headers, re.sub(own, b"", answer.content)


@pytest.mark.parametrize("kind", [*KINDS, "left"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Cookie", "csrftoken=" + "a" * 32)],
        [("If-None-Match", "<etag>")],
        [("If-None-Match", '"other"')],
        [("If-Match", '"other"')],
        [("If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT")],
    ],
    ids=lambda headers: headers[0][0] if headers else "plain",
)
def test_the_loop_answers_as_a_thread_does(on_the_loop, kind, method, headers):
    url = address(kind, TicketTierFactory().concert)
    first = ask(application, "GET", url)
    headers = [
        (name, value.replace("<etag>", first.headers.get("Etag", ""))) for name, value in headers
    ]
    on_the_loop.clear()
    loops, threads = (
        ask(front, method, url, headers=headers) for front in (application, by_django)
    )
    assert plain(loops) == plain(threads)
    assert on_the_loop == {True: 1}


@pytest.mark.parametrize("kind", ["home", "page", "concert page"])
@pytest.mark.parametrize(
    "cookie", ["sessionid=x", "messages=x", "csrftoken=a; sessionid=x", "theme=dark"]
)
def test_a_page_for_a_visitor_with_other_cookies_is_left_to_a_thread(on_the_loop, kind, cookie):
    url = address(kind, TicketTierFactory().concert)
    ask(application, "GET", url)
    on_the_loop.clear()
    assert ask(application, "GET", url, headers=[("Cookie", cookie)]).status_code == 200
    assert on_the_loop == {False: 1}


def test_each_visitor_has_a_key_and_a_token_of_their_own_on_the_loop(on_the_loop):
    url = address("concert page", TicketTierFactory().concert)
    ask(application, "GET", url)
    pages = [ask(application, "GET", url) for _ in range(5)]
    assert on_the_loop[True] == 5
    for name in (b"csrfmiddlewaretoken", b"idempotency_key"):
        values = {re.search(b'name="%s" value="([^"]+)"' % name, page.content)[1] for page in pages}
        assert len(values) == 5
    assert len({page["Set-Cookie"] for page in pages}) == 5


def test_a_copy_of_another_host_or_scheme_answers_nobody_else(on_the_loop, settings):
    url = address("list", TicketTierFactory().concert)
    ask(application, "GET", url)
    on_the_loop.clear()
    settings.ALLOWED_HOSTS = ["testserver", "other.example"]
    other = ask(application, "GET", url, server=("other.example", 80))
    assert other.status_code == 200
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    ask(application, "GET", url, headers=[("X-Forwarded-Proto", "https")])
    assert on_the_loop == {True: 1, False: 1}


def test_on_a_quiet_site_each_request_is_counted_once_and_answered_anew(monkeypatch):
    url, read = address("availability", TicketTierFactory().concert), []
    real = CopiesMiddleware.make_copy
    monkeypatch.setattr(
        CopiesMiddleware, "make_copy", lambda self, request: read.append(1) or real(self, request)
    )
    for _ in range(store.QUIET):
        assert ask(application, "GET", url).status_code == 200
    assert len(read) == store.QUIET
    for _ in range(5):  # now there is a rush
        ask(application, "GET", url)
    assert len(read) == store.QUIET + 1


def test_in_a_rush_one_request_reads_and_the_others_wait_on_the_loop(on_the_loop, monkeypatch):
    url, read, may_read, waiting = address("left", TicketTierFactory().concert), [], Event(), set()
    monkeypatch.setattr(front, "WAITS", 10_000)
    ask(application, "GET", url)
    [entry] = store._entries.values()
    entry.kept = entry.kept._replace(until=0.0)  # it has expired
    make, copies = CopiesMiddleware.make_copy, application.copies

    def slowly(self, request):
        read.append(request)
        may_read.wait(60)
        return make(self, request)

    def watch(scope):
        try:
            return copies(scope)
        except store.BeingRead:
            waiting.add(id(scope))
            raise

    monkeypatch.setattr(CopiesMiddleware, "make_copy", slowly)
    monkeypatch.setattr(application, "copies", watch)
    on_the_loop.clear()
    with ThreadPoolExecutor(20) as visitors:
        answers = [visitors.submit(ask, application, "GET", url) for _ in range(20)]
        while len(waiting) < 19:
            sleep(0.01)
        may_read.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert len(read) == 1
    assert on_the_loop == {False: 1, True: 19}


def test_an_address_that_is_not_copied_is_waited_for_by_nobody(on_the_loop):
    url = address("left", TicketTierFactory(concert__status="DRAFT").concert)
    for _ in range(5):
        assert ask(application, "GET", url).status_code == 404
    assert on_the_loop == {False: 5}


def test_a_copy_that_cannot_be_renewed_keeps_nobody_waiting(on_the_loop, monkeypatch):
    url = address("left", TicketTierFactory().concert)
    ask(application, "GET", url)
    [entry] = store._entries.values()
    entry.kept = entry.kept._replace(until=0.0)
    on_the_loop.clear()
    Concert.objects.update(status="DRAFT")
    for _ in range(5):
        assert ask(application, "GET", url).status_code == 404
    assert on_the_loop == {False: 5}


def page_after_a_strange_one(tier):
    """What a stranger sees after a server has let somebody say that the site is below the address //."""
    url = f"/concerts/{tier.concert_id}/"
    for _ in range(3):
        ask(by_django, "GET", url, root_path="//")
    return [ask(front, "GET", url).content for front in (application, by_django)]


def test_the_name_of_the_script_changes_no_copy(busy, tier):
    """Its path is the same as without: the name is taken off the path and put before it again."""
    for page in page_after_a_strange_one(tier):
        assert b'action="/bookings/"' in page


def test_control_a_name_of_the_script_that_is_believed_spoils_copies(busy, tier, settings):
    settings.FORCE_SCRIPT_NAME = None
    for page in page_after_a_strange_one(tier):
        assert b'action="/bookings/"' not in page
