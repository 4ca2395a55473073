"""The front by itself: bodies within bounds, a bounded number of threads, answers as Django made them."""

import asyncio
import threading
import time

import pytest

from ticketbook import event_loop
from ticketbook.asgi import application
from ticketbook.front import bodies, front, site
from ticketbook.front.front import Front
from ticketbook.tests.asgi import Exchange, ask, nothing, scope_of


def echo(environ, start_response):
    """What a WSGI application sees of a request."""
    body = environ["wsgi.input"].read()
    seen = [environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]]
    seen += [environ["CONTENT_LENGTH"], environ.get("HTTP_X_ONE", "-"), str(len(body))]
    start_response(
        "200 OK", [("Content-Type", "text/plain; charset=latin-1"), ("Content-Length", "9999")]
    )
    return ["|".join(seen).encode("latin-1"), b"|", body]


def front_of(application, *, threads=2, endpoints=None):
    return Front(
        application,
        threads=threads,
        endpoints=endpoints or {},
        copies=lambda scope: None,
        end=nothing,
    )


@pytest.fixture
def front_echo():
    return front_of(echo)


# --- What the application sees ----------------------------------------------------------------------


def test_a_request_reaches_the_application_whole(front_echo):
    chunks, twice = [b"quan", b"tity", b"=10"], [("X-One", "1"), ("X-One", "2")]
    answer = ask(front_echo, "POST", "/a", *chunks, query=b"b=c", headers=twice)
    assert answer.content == b"POST|/a|b=c|11|1,2|11|quantity=10"
    assert answer["Content-Length"] == str(len(answer.content))


def test_bytes_that_are_not_ascii_stay_what_they_are(front_echo):
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
    assert (
        int(head["Content-Length"]) == 9999
    )  # as the application told, which may leave the body out
    assert int(whole["Content-Length"]) == len(whole.content)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_that_has_no_body_tells_no_length(status):
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


# --- Bodies -----------------------------------------------------------------------------------------


def test_a_client_that_hangs_up_in_the_middle_is_no_shorter_request(front_echo):
    """quantity=10 must never become quantity=1."""
    exchange = Exchange(scope_of("POST", "/"), b"quantity=1", None)
    event_loop.run(exchange.run(front_echo))
    assert exchange.status_code == 408  # to nobody


def test_a_large_body_is_read_to_its_end_and_refused(front_echo, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_BODY", 100)
    monkeypatch.setattr(bodies, "SMALL", 50)
    for chunks in ([b"x" * 101], [b"x" * 60, b"x" * 60, b"x" * 60]):
        answer = ask(front_echo, "POST", "/api/v1/bookings", *chunks)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert ask(front_echo, "POST", "/", b"x" * 60, b"x" * 40).status_code == 200
    page = ask(front_echo, "POST", "/", b"x" * 101)
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert b"too large" in page.content


def test_a_body_without_end_loses_the_connection(front_echo, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_BODY", 100)
    monkeypatch.setattr(bodies, "MAX_DISCARDED", 1000)
    exchange = Exchange(scope_of("POST", "/"), *[b"x" * 100] * 50)
    event_loop.run(exchange.run(front_echo))
    assert (exchange.status_code, exchange["Connection"]) == (408, "close")
    assert len(exchange.chunks) > 30  # the rest was not read


def test_all_bodies_together_have_a_bound(front_echo, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_TOGETHER", 100)
    answer = ask(front_echo, "POST", "/api/v1/bookings", b"x" * 60, b"x" * 60)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "busy", "1")
    assert bodies._together == 0
    assert ask(front_echo, "POST", "/", b"x" * 60, b"x" * 30).status_code == 200


def test_a_large_body_counts_until_it_is_answered(monkeypatch):
    """Those that wait for a thread take room too."""
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


# --- Threads ----------------------------------------------------------------------------------------


def test_more_than_can_wait_for_a_thread_are_told_at_once(monkeypatch):
    monkeypatch.setattr(site, "MAX_WAITING", 2)
    go, entered = threading.Event(), threading.Semaphore(0)

    def slow(environ, start_response):
        entered.release()
        assert go.wait(10)
        return echo(environ, start_response)

    crowded = front_of(slow, threads=1)

    async def all_at_once():
        first = [
            asyncio.create_task(Exchange(scope_of("GET", "/api/v1/x")).run(crowded))
            for _ in range(3)
        ]
        await asyncio.to_thread(entered.acquire)
        refused = await Exchange(scope_of("GET", "/api/v1/x")).run(crowded)
        alive = await Exchange(scope_of("GET", "/livez")).run(crowded)
        go.set()
        return refused, alive, await asyncio.gather(*first)

    refused, alive, served = event_loop.run(all_at_once())
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert alive.status_code == 200  # the process answers for itself
    assert [answer.status_code for answer in served] == [200] * 3


def test_a_stream_keeps_to_the_pace_of_its_reader():
    made = []

    def film(environ, start_response):
        start_response("200 OK", [("Content-Type", "video/x")])
        for number in range(10):
            made.append(number)
            yield bytes([number]) * 1000

    class Reader(Exchange):
        async def send(self, message):
            await super().send(message)
            sent.append((len(made), message.get("more_body")))

    sent = []
    reader = Reader(scope_of("GET", "/"))
    event_loop.run(reader.run(front_of(film)))
    assert len(reader.content) == 10 * 1000
    assert [ahead for ahead, more in sent if more] == list(range(1, 11))
    assert sent[-1][1] is False


def test_a_reader_that_leaves_ends_the_stream():
    made, closed = [], threading.Event()

    def endless(environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                made.append(1)
                yield b"x" * 1000
        finally:
            closed.set()

    async def leave():
        class Slow(Exchange):
            async def send(self, message):
                await asyncio.sleep(0.02)

        task = asyncio.create_task(Slow(scope_of("GET", "/")).run(front_of(endless)))
        await asyncio.sleep(0.2)
        task.cancel()

    event_loop.run(leave())
    assert closed.wait(5)
    assert len(made) < 50


def test_a_large_answer_goes_in_pieces_and_a_reader_that_stops_is_given_up(monkeypatch):
    """By then its thread serves others."""
    monkeypatch.setattr(site, "SLOWEST", 0.1)
    large = bytes(site.LARGE + 1)

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(large)))])
        return [large]

    class Stopping(Exchange):
        async def send(self, message):
            await super().send(message)
            if len(self.messages) == 3:
                await asyncio.sleep(60)

    whole = front_of(application)
    assert ask(whole, "GET", "/").content == large
    with pytest.raises(TimeoutError):
        event_loop.run(Stopping(scope_of("GET", "/")).run(whole))
    assert whole.site.large == 0


def test_too_many_large_answers_at_once_are_busy(monkeypatch):
    monkeypatch.setattr(site, "MAX_LARGE", 0)

    def application(environ, start_response):
        start_response("200 OK", [])
        return [bytes(site.LARGE + 1)]

    assert ask(front_of(application), "GET", "/").status_code == 503


# --- The end ----------------------------------------------------------------------------------------


def test_readiness_ends_first_and_what_is_begun_is_finished():
    finished = []

    async def slow_door(scope, body, its_site):
        await asyncio.sleep(0.2)
        finished.append(body)
        return front.LIVE

    ending = front_of(echo, endpoints={("POST", "/x"): slow_door})

    async def end():
        request = asyncio.create_task(Exchange(scope_of("POST", "/x"), b"one").run(ending))
        await asyncio.sleep(0.05)
        request.cancel()  # its client is gone
        ending.draining = True
        ready = await Exchange(scope_of("GET", "/readyz")).run(ending)
        await ending.end()
        return ready

    assert event_loop.run(end()).status_code == 503
    assert finished == [b"one"]


def test_the_loop_cannot_wait_for_itself():
    async def wait_here():
        event_loop.run(nothing())

    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        event_loop.run(wait_here())
