"""How the front hands a request to Django, and the bounds of its body."""

import asyncio
import time

import pytest

from ticketbook import event_loop
from ticketbook.asgi import application
from ticketbook.front import bodies
from ticketbook.tests.asgi import Exchange, ask, echo, front_of, scope_of


@pytest.fixture
def front_echo():
    return front_of(echo)


# --- What the application sees ------------------------------------------------------------------


def test_a_request_reaches_the_application_whole(front_echo):
    chunks, twice = [b"quan", b"tity", b"=10"], [("X-One", "1"), ("X-One", "2")]
    answer = ask(front_echo, "POST", "/a", *chunks, query=b"b=c", headers=twice)
    assert answer.content == b"POST|/a|b=c|11|1,2|11|quantity=10"
    assert answer["Content-Length"] == str(len(answer.content))


def test_bytes_that_are_not_ascii_arrive_unchanged(front_echo):
    scope = scope_of("GET", "/caf\u00e9", query=b"q=\xff%20")
    scope["raw_path"] = b"/caf%C3%A9"
    answer = event_loop.run(Exchange(scope).run(front_echo))
    assert answer.content.startswith(b"GET|/caf\xc3\xa9|q=\xff%20|0")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://one.example/a%20b", "/a b"),
        ("http://one.example", "/"),
        ("https://one.example/", "/"),
    ],
)
def test_a_request_may_name_its_whole_address(target, path):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [environ["HTTP_HOST"].encode(), b" ", environ["PATH_INFO"].encode()]

    scope = scope_of("GET", target, [("Host", "testserver")])
    answer = event_loop.run(Exchange(scope).run(front_of(application)))
    assert answer.content.decode() == f"one.example {path}"


def test_two_cookie_headers_are_one(front_echo):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [environ["HTTP_COOKIE"].encode()]

    cookies = [("Cookie", "a=1"), ("Cookie", "b=2")]
    assert ask(front_of(application), "GET", "/", headers=cookies).content == b"a=1; b=2"


def test_a_length_that_the_client_claims_is_not_believed(front_echo):
    headers = [("Content-Length", "3"), ("Transfer-Encoding", "chunked")]
    answer = ask(front_echo, "POST", "/", b"quantity", b"=10", headers=headers)
    assert answer.content.endswith(b"|11|-|11|quantity=10")


def test_head_has_the_length_and_no_body(front_echo):
    whole, head = ask(front_echo, "GET", "/"), ask(front_echo, "HEAD", "/")
    assert head.content == b""
    # The length is the application's, which may have left the body out.
    assert int(head["Content-Length"]) == 9999
    assert int(whole["Content-Length"]) == len(whole.content)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_has_no_length(status):
    def application(environ, start_response):
        start_response(status, [("ETag", '"x"')])
        return []

    answer = ask(front_of(application), "GET", "/")
    assert "Content-Length" not in answer
    assert answer["ETag"] == '"x"'


@pytest.mark.django_db
def test_a_static_file_as_head_has_the_length_of_the_file(settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    whole, head = (ask(application, method, "/static/css/site.css") for method in ("GET", "HEAD"))
    assert len(whole.content) > 1000
    assert head.content == b""
    assert {n: v for n, v in head.headers.items() if n != "Date"} == whole.headers


# --- Bodies -------------------------------------------------------------------------------------


def test_a_client_that_hangs_up_in_its_body_has_sent_no_request(front_echo):
    """quantity=10 must never become quantity=1."""
    exchange = Exchange(scope_of("POST", "/"), b"quantity=1", None)
    event_loop.run(exchange.run(front_echo))
    assert exchange.status_code == 408  # nobody reads it


def test_a_body_that_is_too_large_is_refused_before_it_is_read(front_echo, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    told = [("Content-Length", "101")]
    for headers, left in ((told, 50), ([], 48)):
        exchange = Exchange(scope_of("POST", "/", headers), *[b"x" * 60] * 50)
        event_loop.run(exchange.run(front_echo))
        assert (exchange.status_code, exchange["Connection"]) == (413, "close")
        assert exchange["Content-Type"] == "text/html; charset=utf-8"
        assert b"too large" in exchange.content
        assert len(exchange.chunks) == left
    assert ask(front_echo, "POST", "/", b"x" * 60, b"x" * 40).status_code == 200


def test_a_body_for_the_api_has_a_limit_of_its_own(front_echo):
    for chunks in ([b"x" * 16_385], [b"x" * 10_000, b"x" * 10_000]):
        answer = ask(front_echo, "POST", "/api/v1/bookings", *chunks)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert ask(front_echo, "POST", "/api/v1/bookings", b"x" * 16_384).status_code == 200
    assert bodies._together == 0


def test_an_address_that_cannot_be_read_is_refused(front_echo):
    exchange = Exchange(scope_of("GET", "http://[::1/", [("Host", "testserver")]))
    event_loop.run(exchange.run(front_echo))
    assert exchange.status_code == 400


def test_a_header_with_an_underscore_is_not_that_with_a_dash(front_echo):
    answer = ask(front_echo, "GET", "/", headers=[("X_One", "1")])
    assert b"|-|" in answer.content


def test_all_large_bodies_together_have_a_bound(front_echo, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_TOGETHER", 100)
    answer = ask(front_echo, "POST", "/api/v1/bookings", b"x" * 60, b"x" * 60)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "busy", "1")
    assert bodies._together == 0
    assert ask(front_echo, "POST", "/", b"x" * 60, b"x" * 30).status_code == 200


def test_a_large_body_counts_until_it_is_answered(monkeypatch):
    """A body that waits for a thread takes room too."""
    counted = []

    def application(environ, start_response):
        counted.append(bodies._together)
        return echo(environ, start_response)

    for chunks in ([b"x" * 40_000], [b"x" * 20_000, b"x" * 20_000]):
        assert ask(front_of(application), "POST", "/", *chunks).status_code == 200
    assert counted == [40_000, 40_000]
    assert bodies._together == 0


def test_a_slow_sender_is_cut_off(front_echo, monkeypatch):
    monkeypatch.setattr(bodies, "SECONDS", 0.1)

    class Slow(Exchange):
        async def receive(self):
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x", "more_body": True}

    start = time.monotonic()
    exchange = Slow(scope_of("POST", "/"))
    event_loop.run(exchange.run(front_echo))
    assert exchange.status_code == 408
    assert b"send it again" in exchange.content
    assert time.monotonic() - start < 2
    assert bodies._together == 0
