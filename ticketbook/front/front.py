"""The front: the event loop answers what is hot, and hands everything else to Django on a thread.

A hot door gets a request and its body, and answers it, or returns None before it has done anything:
then Django answers, and words every refusal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from django.template.loader import render_to_string

from ticketbook import event_loop
from ticketbook.errors import Busy, Refusal, TooSlow
from ticketbook.front.answers import Answer, Receive, Scope, Send, refusal_answer, send_answer
from ticketbook.front.bodies import ClientGone, body_of
from ticketbook.front.site import Site, WSGIApplication

Result = TypeVar("Result")
Door = Callable[[Scope, bytes, Site], Awaitable[Answer | None]]
Copies = Callable[[Scope], Answer | None]

LIVE = Answer(200, [(b"content-type", b"text/plain")], b"ok\n")
CLOSE = (b"connection", b"close")
DRAINING = Answer(503, [(b"content-type", b"text/plain")], b"not ready: this process is ending\n")


class Front:
    """An ASGI application. `doors` answer by method and path; `copies` answers what many read; `end`
    is awaited when everything is answered."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        doors: Mapping[tuple[str, str], Door],
        copies: Copies,
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self.site = Site(application, threads=threads)
        self.doors, self.copies = doors, copies
        self.end_doors = end
        self.tasks: set[asyncio.Task[Any]] = set()  # what is begun is ended, whoever listens
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http":
            await self.answer(in_origin_form(scope), receive, send)
        else:
            await send({"type": "websocket.close"})

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["method"] == "HEAD"
        try:
            if answer := self.at_once(scope):
                await send_answer(send, answer, head=head)
                return
            async with body_of(receive) as body:
                await self.answer_with(scope, body, send)
        except ClientGone:
            answer = worded(TooSlow(), scope)  # for a client that still listens
            await send_answer(send, answer._replace(headers=[*answer.headers, CLOSE]))
        except Refusal as refusal:
            await send_answer(send, worded(refusal, scope), head=head)

    async def answer_with(self, scope: Scope, body: bytes, send: Send) -> None:
        door = self.doors.get((scope["method"], scope["path"]))
        answer = None
        if door is not None:
            answer = await self.to_its_end(self.through(door, scope, body))
        if answer is not None:
            await send_answer(send, answer)
        else:
            await self.site(scope, body, send, self.to_its_end)

    async def to_its_end(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run it as a task of its own, so that a client that hangs up does not cancel it."""
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await asyncio.shield(task)

    def at_once(self, scope: Scope) -> Answer | None:
        """What needs neither a body nor a thread."""
        path = scope["path"]
        if path == "/livez":
            return LIVE
        if path == "/readyz":
            return DRAINING if self.draining else None
        return self.copies(scope) if scope["method"] in {"GET", "HEAD"} else None

    async def through(self, door: Door, scope: Scope, body: bytes) -> Answer | None:
        return await door(scope, body, self.site)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """For servers other than gunicorn with our worker, which calls start and end by itself."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return

    @property
    def at_work(self) -> bool:
        """Whether a request is still being worked on. Its client may have gone."""
        return bool(self.tasks or self.site.at_work)

    async def start(self) -> None:
        event_loop.use(asyncio.get_running_loop())
        await self.site.start()

    async def end(self) -> None:
        """Once nobody comes any more: finish what is begun, and let go of the database."""
        while self.tasks:
            await asyncio.wait(self.tasks)
        await self.end_doors()
        self.site.stop()


def in_origin_form(scope: Scope) -> Scope:
    """A request may name its whole address, as to a proxy (RFC 9112, 3.2.2)."""
    if scope["path"].startswith("/") or scope["path"] == "*":
        return scope
    address = urlsplit(scope["raw_path"].decode("latin-1"))
    path = address.path or "/"
    headers = [header for header in scope["headers"] if header[0] != b"host"]
    headers.append((b"host", address.netloc.encode("latin-1")))
    return {**scope, "path": unquote(path), "raw_path": path.encode("latin-1"), "headers": headers}


def worded(refusal: Refusal, scope: Scope) -> Answer:
    """For the API a problem, for people a page: Django could not be asked."""
    answer = refusal_answer(refusal)
    if scope["path"].startswith("/api/"):
        return answer
    headers = [h for h in answer.headers if h[0] != b"content-type"]
    return Answer(
        refusal.status,
        [*headers, (b"content-type", b"text/html; charset=utf-8")],
        refusal_page(refusal.status, str(refusal)),
    )


@cache
def refusal_page(status: int, detail: str) -> bytes:
    template = "503.html" if status == Busy.status else "refused.html"
    return render_to_string(template, {"detail": detail}).encode()
