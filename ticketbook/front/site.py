"""Django's WSGI application behind the front, on a fixed number of threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.conf import settings

from ticketbook.errors import Busy
from ticketbook.front.answers import (
    Answer,
    Headers,
    Scope,
    Send,
    send_answer,
)
from ticketbook.front.calls import SLOWEST, Call, WSGIApplication, environ_of, scheme_of
from ticketbook.front.later import FINISHED, FRONT, Finished

MAX_WAITING = 512  # requests that wait for a thread; further ones get Busy at once
LARGE = 256 * 1024  # bytes; a slow reader of a larger answer makes us keep it in memory
MAX_LARGE = 64  # large answers on their way at a time

Awaiting = Callable[[Coroutine[Any, Any, Finished[Any]]], Awaitable[Finished[Any]]]
Endpoint = tuple[str, str]  # method and path


class Site:
    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self.application = application
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="site")
        self.mutex = threading.Lock()
        self.at_work = 0  # requests that wait for a thread or have one
        self.large = 0
        self.common: dict[tuple[str, str, str], Headers] = {}

    async def __call__(self, scope: Scope, body: bytes, send: Send, await_: Awaiting) -> None:
        """Answer one request. Raises Busy if too many wait already.

        `await_` awaits what a view leaves to the event loop (ticketbook/front/later.py).
        """
        call = await self.call(environ_of(scope, body) | {FRONT: True}, send)
        if call.later is not None:
            finished = await await_(call.later.finish())
            if address := call.later.address(finished):
                call.redirect(address)
            else:
                call = await self.call(environ_of(scope, body) | {FINISHED: finished}, send)
        if call.whole is not None:
            await self.send(call.whole, send, head=scope["method"] == "HEAD")

    async def call(self, environ: dict[str, Any], send: Send) -> Call:
        if self.at_work >= self.threads + MAX_WAITING:
            raise Busy
        call = Call(self.application, environ, send)
        try:
            await asyncio.wrap_future(self.submit(call))
        except asyncio.CancelledError:
            call.abandon()
            raise
        return call

    def submit(self, call: Call) -> Future[None]:
        # Counted until it has ended, even if its client has gone by then.

        def ended(job: object) -> None:
            with self.mutex:
                self.at_work -= 1

        with self.mutex:
            self.at_work += 1
        job = self.pool.submit(call.run)
        job.add_done_callback(ended)
        return job

    async def send(self, answer: Answer, send: Send, *, head: bool) -> None:
        if len(answer.body) <= LARGE:
            await send_answer(send, answer, head=head)
            return
        if self.large >= MAX_LARGE:
            raise Busy
        self.large += 1
        try:
            await send_answer(send, answer, head=head, seconds_a_piece=SLOWEST)
        finally:
            self.large -= 1

    async def start(self, endpoints: Iterable[Endpoint]) -> None:
        """Before the first client: learn the headers that Django adds to the answers of hot endpoints."""
        for endpoint in endpoints:
            for scheme in ("http", "https"):
                self.common[scheme, *endpoint] = await self._ask_for_headers(scheme, *endpoint)

    def common_headers(self, scope: Scope) -> Headers:
        return self.common[scheme_of(scope), scope["method"], scope["path"]]

    async def _ask_for_headers(self, scheme: str, method: str, path: str) -> Headers:
        # Django answers a request without a token. So no header of its middleware is copied by hand.
        scope = {**ANONYMOUS, "scheme": scheme, "method": method, "path": path}
        environ = environ_of({**scope, "raw_path": path.encode()}, b"")
        environ["HTTP_HOST"] = _a_host_of_ours()
        if settings.SECURE_PROXY_SSL_HEADER is not None:
            environ[settings.SECURE_PROXY_SSL_HEADER[0]] = scheme
        call = Call(self.application, environ, None)
        await asyncio.get_running_loop().run_in_executor(self.pool, call.run)
        assert call.whole is not None
        return [header for header in call.whole.headers if header[0] not in OF_ONE_ANSWER]

    def stop(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


ANONYMOUS: Scope = {"query_string": b"", "http_version": "1.1", "headers": []}
OF_ONE_ANSWER = {b"content-type", b"www-authenticate", b"retry-after", b"location"}


def _a_host_of_ours() -> str:
    host = settings.ALLOWED_HOSTS[0] if settings.ALLOWED_HOSTS else "localhost"
    return "localhost" if host == "*" else host.removeprefix(".")
