"""gunicorn's ASGI worker with limits of its own, and an end that loses nothing."""

import asyncio
import gc
import os
from typing import Any

from gunicorn.asgi import protocol
from gunicorn.asgi.parser import ParseError
from gunicorn.workers.gasgi import ASGIWorker

HEAD_SECONDS = 10.0  # from the connection to the end of its first request's headers
DRAIN_SECONDS = 15.0  # for requests in flight, once the end is asked for; below graceful_timeout
FRESH_SECONDS = (
    1.0  # of these, how long a client that has just come may still send its first request
)
READ_SECONDS = 20.0  # a client that reads nothing of its answer for so long is cut off
CLOSE_SECONDS = 5.0  # for what is left to send to a client that is let go
# Each chunk of a body costs the event loop time, however small it is: so many with a smaller mean than so
# many bytes are refused.
MANY_CHUNKS, SMALL_CHUNK = 1000, 64
PASS_ON = 16 * 1024  # bytes of a body that are passed on together
MAX_LINE = 4 * 1024  # bytes of a line until the parser looks at it again, and may refuse it
MAX_PIPELINED = 64 * 1024  # bytes of requests that wait behind one

protocol._REASON_PHRASES.setdefault(402, "Payment Required")


class Connection(protocol.ASGIProtocol):  # type: ignore[misc]
    """One client. gunicorn waits for ever for a first request and for a slow reader, takes any number of
    clients, and any number of chunks and of requests ahead of their turn."""

    worker: "Worker"

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._chunks = self._size = 0
        self._body = bytearray()  # what has come of it and was not passed on

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.worker.clients.add(self)
        if len(self.worker.clients) > self.worker.cfg.worker_connections:
            self._send_error_response(503, "Too many connections", (("Retry-After", "1"),))
            self._close_transport()
        else:
            self._start_timer("head", HEAD_SECONDS, self._close_transport)

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
        self._stop_timer("head")
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
        """A body that comes drop by drop does not wake its request for each drop."""
        if self._body:
            super()._on_body(bytes(self._body))
            self._body.clear()

    def data_received(self, data: bytes) -> None:
        parser = self._callback_parser
        if parser is not None and self._is_part_of_a_line(data):
            parser._buffer += data  # the parser could do nothing with it yet
            return
        super().data_received(data)
        if parser is not None and parser.is_complete and len(parser._buffer) > MAX_PIPELINED:
            self.cut_off()

    def _is_part_of_a_line(self, data: bytes) -> bool:
        """Of a head that comes drop by drop, in the middle of a line."""
        held = self._callback_parser._buffer
        return (
            self._current_request is None
            and 0 < len(held) < MAX_LINE
            and b"\n" not in data
            and not self._callback_parser.is_complete
        )

    def eof_received(self) -> bool:
        """A client that has said all may still wait for its answer."""
        return self._current_request is not None and not self._closed

    # --- What goes out ---

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_timer("read", READ_SECONDS, self.cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_timer("read")

    def _close_transport(self) -> None:
        super()._close_transport()
        if not self._conn_lost_handled:  # a client that reads nothing would keep it for ever
            self._start_timer("close", CLOSE_SECONDS, self.cut_off)

    def cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def close_if_idle(self, *, fresh_too: bool) -> None:
        """No request is on its way here, and none is answered."""
        served = self.req_count > 1
        idle = self._current_request is None and not self._finishing_calls
        if idle and (served or fresh_too):
            self._close_transport()


class Worker(ASGIWorker):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clients: set[Connection] = set()

    def load_wsgi(self) -> None:
        """The front, also for `gunicorn ticketbook.wsgi`, which was the command before there was one."""
        from ticketbook.asgi import application  # not before Django is set up

        self.asgi = application

    async def _serve(self) -> None:
        """Until the end is asked for; then in order: no new clients, what is in flight, the lanes."""
        await self.asgi.start()
        # What is loaded now stays: the garbage collector need not look through it again and again.
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
        for server in self.servers:
            server.close()
        await self.drain()
        if not self._quick_shutdown:
            await self.asgi.end()

    async def drain(self) -> None:
        began = self.loop.time()
        while not self._quick_shutdown and self.loop.time() < began + DRAIN_SECONDS:
            for client in list(self.clients):
                client.close_if_idle(fresh_too=self.loop.time() > began + FRESH_SECONDS)
            if not self.clients and not self.asgi.at_work:
                return
            self.notify()
            await asyncio.sleep(0.05)
        for client in list(self.clients):
            client.cut_off()
