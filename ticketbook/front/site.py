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
MAX_PASSWORDS_WAITING = 100  # of these, requests with a password; each takes long
LARGE = 256 * 1024  # bytes; a slow reader of a larger answer makes us keep it in memory
MAX_LARGE = 64  # large answers on their way at a time

Awaiting = Callable[[Coroutine[Any, Any, Finished[Any]]], Awaitable[Finished[Any]]]
Endpoint = tuple[str, str]  # method and path


class Threads:
    """A fixed number of threads, with a limit for the calls that wait for one."""

    def __init__(self, threads: int, name: str) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.mutex = threading.Lock()
        self.at_work = 0  # calls that wait for a thread or have one

    def submit(self, call: Call, *, waiting: int) -> Future[None]:
        """Raises Busy if so many wait already."""

        # Counted until it has ended, even if its client has gone by then.

        def ended(job: object) -> None:
            with self.mutex:
                self.at_work -= 1

        with self.mutex:
            if self.at_work >= self.threads + waiting:
                raise Busy
            self.at_work += 1
        job = self.pool.submit(call.run)
        job.add_done_callback(ended)
        return job


class Site:
    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self.application = application
        self.usual = Threads(threads, "site")
        # Hashing a password takes as long as a hundred pages, and all cores if it may.
        self.passwords = Threads(settings.PASSWORD_THREADS, "passwords")
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
        call = Call(self.application, environ, send)
        try:
            await asyncio.wrap_future(self.submit(call))
        except asyncio.CancelledError:
            call.abandon()
            raise
        return call

    def submit(self, call: Call) -> Future[None]:
        if has_password(call.environ):
            return self.passwords.submit(call, waiting=MAX_PASSWORDS_WAITING)
        return self.usual.submit(call, waiting=MAX_WAITING)

    @property
    def at_work(self) -> int:
        """How many requests wait for a thread or have one."""
        return self.usual.at_work + self.passwords.at_work

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
        await asyncio.get_running_loop().run_in_executor(self.usual.pool, call.run)
        assert call.whole is not None
        return [header for header in call.whole.headers if header[0] not in OF_ONE_ANSWER]

    def stop(self) -> None:
        for threads in (self.usual, self.passwords):
            threads.pool.shutdown(wait=False, cancel_futures=True)


def has_password(environ: dict[str, Any]) -> bool:
    """Whether Django may have to hash a password to answer."""
    path: str = environ["PATH_INFO"]
    return environ["REQUEST_METHOD"] not in {"GET", "HEAD"} and path.startswith(
        settings.PASSWORD_DOORS
    )


ANONYMOUS: Scope = {"query_string": b"", "http_version": "1.1", "headers": []}
OF_ONE_ANSWER = {b"content-type", b"www-authenticate", b"retry-after", b"location"}


def _a_host_of_ours() -> str:
    host = settings.ALLOWED_HOSTS[0] if settings.ALLOWED_HOSTS else "localhost"
    return "localhost" if host == "*" else host.removeprefix(".")
