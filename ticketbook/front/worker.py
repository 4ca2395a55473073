"""gunicorn's ASGI worker, with limits that it lacks and an orderly end."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NoReturn

import orjson
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter
from gunicorn.asgi import protocol
from gunicorn.asgi.parser import ParseError
from gunicorn.workers.gasgi import ASGIWorker

from ticketbook.front.clients import Clients, as_many_as_files_allow

HEAD_SECONDS = 10.0  # from connecting to the end of the first request's headers
LOADING_SECONDS = 300  # the longest that a process may take to load the application
DRAIN_SECONDS = 15.0  # for requests in flight after SIGTERM; below graceful_timeout
FIRST_REQUEST_SECONDS = 1.0  # of these, for the first request of a client that has just connected
READ_SECONDS = 20.0  # a client that reads nothing of its answer for this long is cut off
CLOSE_SECONDS = (
    5.0  # to end a connection: we send the rest, and read over what the client still sends
)
# Each chunk of a body costs the event loop time, even a small one. A body of more than MANY_CHUNKS is
# refused if they have fewer than SMALL_CHUNK bytes on average.
MANY_CHUNKS, SMALL_CHUNK = 1000, 64
PASS_ON = 16 * 1024  # bytes of a body that are passed on together
MAX_LINE = 4 * 1024  # bytes of a line after which the parser looks at it, and may refuse it
MAX_PIPELINED = 64 * 1024  # bytes of requests that wait behind the current one

for status in HTTPStatus:
    protocol._REASON_PHRASES.setdefault(status.value, status.phrase)


class Connection(protocol.ASGIProtocol):  # type: ignore[misc]
    """One client.

    By itself gunicorn waits for ever for a first request and for a slow reader, and takes any number of
    clients, of chunks, and of requests that wait behind another one.
    """

    worker: "Worker"
    _closed: bool

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._chunks = self._size = 0
        self._body = bytearray()  # what has arrived and was not passed on yet
        self._is_unreadable = self._is_ending = self._has_sent_all = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if self.worker.clients.take(self, peer[0] if isinstance(peer, tuple) else ""):
            self._start_timer("head", HEAD_SECONDS, self._close_transport)
        else:
            self._send_problem(503, (("Retry-After", "1"),))
            self._close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.worker.clients.discard(self)
        super().connection_lost(exc)

    def _start_timer(self, name: str, seconds: float, act: Any) -> None:
        self._stop_timer(name)
        self._timers[name] = self.worker.loop.call_later(seconds, act)

    def _stop_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    # --- What comes in ---

    def _on_headers_complete(self) -> Any:
        if "head" in self._timers:
            self._stop_timer("head")
            self.worker.clients.spoke(self)
        self._chunks = self._size = 0
        self._body.clear()
        return super()._on_headers_complete()

    def _on_body(self, chunk: bytes) -> None:
        self._chunks += 1
        self._size += len(chunk)
        if self._chunks > MANY_CHUNKS and self._size < SMALL_CHUNK * self._chunks:
            raise ParseError("Too many chunks")
        self._body += chunk
        if len(self._body) >= PASS_ON:
            self._pass_body_on()

    def _on_message_complete(self) -> None:
        self._pass_body_on()
        super()._on_message_complete()

    def _pass_body_on(self) -> None:
        # In larger pieces, so that a body of many small chunks does not wake its request for each.
        if self._body:
            super()._on_body(bytes(self._body))
            self._body.clear()

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        parser = self._callback_parser
        if parser is not None and self._is_part_of_a_line(data):
            parser._buffer += data  # the parser could not use it yet
            return
        super().data_received(data)
        if parser is not None and parser.is_complete and len(parser._buffer) > MAX_PIPELINED:
            self.cut_off()

    def _feed_callback_parser(self, data: bytes) -> bool:
        try:
            return bool(super()._feed_callback_parser(data))
        except (
            ValueError
        ):  # such as a Content-Length of so many digits that Python does not read it
            self._send_error_response(400, "Bad request")
            self._close_transport()
            return False

    def _is_part_of_a_line(self, data: bytes) -> bool:
        # The headers arrive in small pieces, and this piece ends in the middle of a line.
        held = self._callback_parser._buffer
        return (
            self._current_request is None
            and 0 < len(held) < MAX_LINE
            and b"\n" not in data
            and not self._callback_parser.is_complete
        )

    def eof_received(self) -> bool:
        # A client that has sent everything may still wait for its answer.
        self._has_sent_all = True
        waits = self._current_request is not None and not self._is_still_sending()
        return waits and not self._closed

    def _arm_keepalive_timer(self) -> None:
        # We read nothing more from a client that has closed its half, so we would not notice that it is gone.
        if self._has_sent_all:
            self._keepalive_timeout()
        else:
            super()._arm_keepalive_timer()

    def _is_still_sending(self) -> bool:
        # As far as we know: we do not know where a request ends that we cannot read.
        receiver = self._body_receiver
        return self._is_unreadable or (receiver is not None and not receiver._complete)

    # --- What goes out ---

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_timer("read", READ_SECONDS, self.cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_timer("read")

    def _close_transport(self) -> None:
        if self._closed:
            return
        if self._is_still_sending():
            # If we closed now, the kernel would reset the connection, and the client might never read our
            # answer. So we only end our half, and read over the rest.
            self._closed = self._is_ending = True
            self._body.clear()
            self._resume_reading()
            self.transport.write_eof()
        else:
            super()._close_transport()
        if not self._conn_lost_handled:  # a client that reads nothing would keep it open for ever
            self._start_timer("close", CLOSE_SECONDS, self.cut_off)

    def _send_error_response(
        self, status: int, message: str, extra_headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        # gunicorn's own refusal of a request. Without `message`, which can quote the request.
        self._is_unreadable = True
        self._send_problem(status, extra_headers)

    def _send_problem(self, status: int, extra_headers: tuple[tuple[str, str], ...]) -> None:
        # Problem details at every address, because a refused request may have no readable one.
        from ticketbook.api.problems import PROBLEM_JSON, problem_of_http  # once Django is set up

        body = orjson.dumps(problem_of_http(status))
        headers = (
            ("Content-Type", PROBLEM_JSON),
            ("Content-Length", str(len(body))),
            *extra_headers,
            ("Connection", "close"),
        )
        lines = [f"HTTP/1.1 {status} {self._get_reason_phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._safe_write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)

    def cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def close_if_idle(self, *, new_ones_too: bool) -> None:
        served = self.req_count > 1
        idle = self._current_request is None and not self._finishing_calls
        if idle and (served or new_ones_too):
            self._close_transport()


class Worker(ASGIWorker):  # type: ignore[misc]
    # Held for good by the first process that refuses to start. gunicorn ends with a traceback if a second one
    # says so while it stops. It loads this module before it forks, so all processes have the same lock.
    has_refused = multiprocessing.Lock()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clients: Clients[Connection] = Clients(most=1, most_of_one=1)

    def init_signals(self) -> None:
        super().init_signals()
        # uvloop forgets a signal that comes before its loop runs. gunicorn would wait for graceful_timeout,
        # and then kill this process. While it loads the application it serves nobody, so it can end at once.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._end_loading)

    def _end_loading(self, *signal_and_frame: object) -> NoReturn:
        self.alive = False  # in case that what is being loaded catches the exception
        sys.exit(0)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        # The first start of a version compresses its static files. On a busy machine that may take longer
        # than `timeout`, after which this process would be killed.
        ready = threading.Event()

        def tell() -> None:
            for _ in range(LOADING_SECONDS):
                self.notify()
                if ready.wait(1):
                    return

        threading.Thread(target=tell, daemon=True).start()
        try:
            yield
        finally:
            ready.set()

    def load_wsgi(self) -> None:
        # Always the front. `gunicorn ticketbook.wsgi`, the command of earlier versions, works too.
        from django.db import connection  # not before Django is set up

        from ticketbook.startup import check_database

        try:
            with self._alive():
                from ticketbook.asgi import application

            check_database()
        except ImproperlyConfigured as exc:
            if not self.has_refused.acquire(block=False):
                sys.exit(0)
            # One sentence instead of a traceback; with this exit code gunicorn stops.
            print(exc, file=sys.stderr)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        finally:
            connection.close()
        self.asgi = application

    async def _serve(self) -> None:
        """Serve until SIGTERM. Then end in order: /readyz, no new clients, requests in flight, lanes."""
        super().init_signals()
        await self.asgi.start()
        self.asgi.watch.start()
        self.clients = Clients(
            most=as_many_as_files_allow(self.cfg.worker_connections),
            most_of_one=settings.WEB_CONNECTIONS_PER_ADDRESS,
        )
        # What is loaded now stays for ever, so the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.servers = [
            await self.loop.create_server(
                lambda: Connection(self), sock=listener.sock, backlog=self.cfg.backlog
            )
            for listener in self.sockets
        ]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(0.2)
        self.asgi.draining = True
        await self.let_proxies_notice()
        for server in self.servers:
            server.close()
        await self.drain()
        if not self._quick_shutdown:
            await self.asgi.end()

    async def let_proxies_notice(self) -> None:
        """Go on serving while /readyz is red, so that nobody is sent here any more when listening stops."""
        until = self.loop.time() + settings.STOP_NOTICE_SECONDS
        while not self._quick_shutdown and self.loop.time() < until:
            self.notify()
            await asyncio.sleep(0.05)

    async def drain(self) -> None:
        began = self.loop.time()
        while not self._quick_shutdown and self.loop.time() < began + DRAIN_SECONDS:
            for client in list(self.clients.all):
                client.close_if_idle(new_ones_too=self.loop.time() > began + FIRST_REQUEST_SECONDS)
            if not self.clients.all and not self.asgi.at_work:
                return
            self.notify()
            await asyncio.sleep(0.05)
        for client in list(self.clients.all):
            client.cut_off()
