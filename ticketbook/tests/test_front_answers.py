"""How the front answers: threads that are all at work, slow readers, and its end."""

import asyncio
import threading

import pytest

from ticketbook import event_loop
from ticketbook.front import front, site
from ticketbook.tests.asgi import Exchange, ask, echo, front_of, nothing, scope_of

# --- Threads ------------------------------------------------------------------------------------


def test_requests_beyond_those_that_may_wait_for_a_thread_are_busy_at_once(monkeypatch):
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
    assert alive.status_code == 200  # it needs no thread
    assert [answer.status_code for answer in served] == [200] * 3


# --- Streams and large answers ------------------------------------------------------------------


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
    """Its thread is free before the answer is sent."""
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


# --- The end ------------------------------------------------------------------------------------


def test_at_the_end_readyz_turns_red_and_what_was_begun_is_finished():
    finished = []

    async def slow_endpoint(scope, body, its_site):
        await asyncio.sleep(0.2)
        finished.append(body)
        return front.LIVE

    ending = front_of(echo, endpoints={("POST", "/x"): slow_endpoint})

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
