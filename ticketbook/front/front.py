"""The front: an ASGI application that answers hot requests on the event loop and all others by Django.

A hot endpoint gets a request with its whole body. It returns the answer, or None before it has changed
anything; then Django answers on a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from django.template.loader import render_to_string

from ticketbook import event_loop, request_ids
from ticketbook.api.paths import is_api
from ticketbook.copies.store import MAX_AGE, BeingRead
from ticketbook.errors import BadAddress, Busy, Refusal, TooLarge, TooSlow
from ticketbook.front.answers import (
    Answer,
    Headers,
    Receive,
    Scope,
    Send,
    raw,
    refusal_answer,
    send_answer,
)
from ticketbook.front.bodies import ClientGone, body_of
from ticketbook.front.calls import WSGIApplication
from ticketbook.front.site import Endpoint, Site
from ticketbook.page_security import page_headers
from ticketbook.postgres.silence import Watch
from ticketbook.readiness import Readiness

Result = TypeVar("Result")
Handler = Callable[[Scope, bytes, Site], Awaitable[Answer | None]]
Copies = Callable[[Scope], Answer | None]

LIVE = Answer(200, [(b"content-type", b"text/plain")], b"ok\n")
# How often, and how many seconds apart, we look whether a copy has been read: for as long as it may take.
WAITS, BETWEEN_WAITS = 20, MAX_AGE / 20
CLOSE = (b"connection", b"close")
ENDING = "this process is ending"


class Front:
    """`endpoints` are the hot ones, by method and path. `copies` answers reads from copies. `end` is
    awaited when everything has been answered."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        endpoints: Mapping[Endpoint, Handler],
        copies: Copies,
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self.site = Site(application, threads=threads)
        self.endpoints, self.copies = endpoints, copies
        self._end = end
        self.tasks: set[asyncio.Task[Any]] = set()
        self.draining = False
        self.readiness, self.watch = Readiness(), Watch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["method"] == "HEAD"
        try:
            scope = _in_origin_form(scope)
            if answer := self._answer_at_once(scope) or await self._answer_soon(scope):
                await send_answer(send, answer, head=head)
                return
            async with body_of(scope, receive) as body:
                await self._answer_with(body, scope, send)
        except (ClientGone, TooLarge) as gone:
            # For a client that still listens. The rest of its body is not read.
            refusal = gone if isinstance(gone, TooLarge) else TooSlow()
            answer = _worded(refusal, scope)
            await send_answer(send, answer._replace(headers=[*answer.headers, CLOSE]), head=head)
        except Refusal as refusal:
            await send_answer(send, _worded(refusal, scope), head=head)

    def _answer_at_once(self, scope: Scope) -> Answer | None:
        # The answer to a request that needs neither its body nor a thread.
        return LIVE if scope["path"] == "/livez" else None

    async def _answer_soon(self, scope: Scope) -> Answer | None:
        # The answer from a copy. One that is just being read is waited for here and not on a thread.
        if scope["method"] not in {"GET", "HEAD"}:
            return None
        if scope["path"] == "/readyz":
            return await self._ready()
        for _ in range(WAITS):
            try:
                return self.copies(scope)
            except BeingRead:
                await asyncio.sleep(BETWEEN_WAITS)
        return None

    async def _ready(self) -> Answer:
        missing = ENDING if self.draining else await self.readiness.missing()
        if missing:
            return LIVE._replace(status=503, body=f"not ready: {missing}\n".encode())
        return LIVE

    async def _answer_with(self, body: bytes, scope: Scope, send: Send) -> None:
        handler = self.endpoints.get((scope["method"], scope["path"]))
        answer = None
        if handler is not None:
            answer = await self._to_its_end(_call(handler, scope, body, self.site))
        if answer is not None:
            await send_answer(send, answer)
        else:
            await self.site(scope, body, send, self._to_its_end)

    async def _to_its_end(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        # A task of its own: when a client hangs up, gunicorn cancels the task of its connection only.
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await asyncio.shield(task)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        # For other ASGI servers. Our gunicorn worker calls start and end itself.
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                self.watch.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return

    @property
    def at_work(self) -> bool:
        """Whether a request is being worked on, even if its client has gone."""
        return bool(self.tasks or self.site.at_work)

    async def start(self) -> None:
        event_loop.use(asyncio.get_running_loop())
        await self.site.start(self.endpoints)

    async def end(self) -> None:
        """Finish what has begun, and let go of the database. Call it when no more requests come."""
        while self.tasks:
            await asyncio.wait(self.tasks)
        await self._end()
        self.readiness.stop()
        self.watch.stop()
        self.site.stop()


async def _call(handler: Handler, scope: Scope, body: bytes, site: Site) -> Answer | None:
    return await handler(scope, body, site)


def _in_origin_form(scope: Scope) -> Scope:
    # A request may name its whole address, as to a proxy (RFC 9112, 3.2.2).
    if scope["path"].startswith("/") or scope["path"] == "*":
        return scope
    try:
        address = urlsplit(scope["raw_path"].decode("latin-1"))
    except ValueError:
        raise BadAddress from None
    path = address.path or "/"
    headers = [header for header in scope["headers"] if header[0] != b"host"]
    headers.append((b"host", address.netloc.encode("latin-1")))
    return {**scope, "path": unquote(path), "raw_path": path.encode("latin-1"), "headers": headers}


def _worded(refusal: Refusal, scope: Scope) -> Answer:
    # A refusal that did not reach Django: a problem for the API, a page for people.
    named: Headers = []
    if request_ids.tells_id(scope["path"], refusal.status):
        named = raw([(request_ids.HEADER, request_ids.begin_scope(scope))])
    answer = refusal_answer(refusal)
    if is_api(scope["path"]):
        return answer._replace(headers=[*answer.headers, *named])
    headers = [h for h in answer.headers if h[0] != b"content-type"]
    return Answer(
        refusal.status,
        [
            *headers,
            (b"content-type", b"text/html; charset=utf-8"),
            *raw(page_headers().items()),
            *named,
        ],
        _refusal_page(refusal.status, str(refusal)).replace(ID_HERE, named[0][1]),
    )


ID_HERE = b"the-id-of-the-request"


@cache
def _refusal_page(status: int, detail: str) -> bytes:
    template = "503.html" if status == Busy.status else "refused.html"
    context = {"detail": detail, "status": status}
    before = request_ids.current.set(ID_HERE.decode())
    try:
        return render_to_string(template, context).encode()
    finally:
        request_ids.current.reset(before)
