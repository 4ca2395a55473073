"""Requests to the front inside this process, without a socket."""

import asyncio
import json

from ticketbook import event_loop
from ticketbook.asgi import django
from ticketbook.front.front import Front


async def nothing():
    pass


def only_django(*, threads=4):
    """The front without hot endpoints and copies: every request goes to Django on a thread."""
    return front_of(django, threads=threads)


def echo(environ, start_response):
    """A WSGI application that answers with what it sees of the request."""
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


def scope_of(method, path, headers=(), query=b"", **more):
    """`headers` are pairs of text, as a client sends them."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 50000),
        **more,
    }


class Exchange:
    """One request and its answer. Its body comes in `chunks`; None among them is a client that hangs up."""

    def __init__(self, scope, *chunks):
        self.scope, self.chunks = scope, list(chunks or [b""])
        self.messages = []
        self.gone = asyncio.Event()

    async def receive(self):
        if not self.chunks:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        chunk = self.chunks.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}

    async def send(self, message):
        self.messages.append(message)

    async def run(self, front):
        await front(self.scope, self.receive, self.send)
        return self

    @property
    def status_code(self):
        return self.messages[0]["status"]

    @property
    def headers(self):
        pairs = self.messages[0]["headers"]
        return {name.decode("latin-1").title(): value.decode("latin-1") for name, value in pairs}

    @property
    def content(self):
        return b"".join(message["body"] for message in self.messages[1:])

    def json(self):
        return json.loads(self.content)

    def __getitem__(self, name):
        return self.headers[name.title()]

    def __contains__(self, name):
        return name.title() in self.headers


def ask(front: Front, method, path, *chunks, headers=(), query=b"", **more):
    """Send a request to the front, on the event loop of this process; returns the exchange."""
    if front.endpoints and not front.site.common:
        event_loop.run(front.start())
    headers = [("Host", "testserver"), *headers]
    exchange = Exchange(scope_of(method, path, headers, query, **more), *chunks)
    return event_loop.run(exchange.run(front))
