"""One call of the WSGI application: its environment, and the answer on its way to the client."""

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings

from ticketbook.front.answers import NO_BODY, Answer, Headers, Scope, Send, raw
from ticketbook.front.later import Later

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

WHOLE = 2 * 1024 * 1024  # bytes; a larger file is streamed, and keeps its thread meanwhile
SLOWEST = 20.0  # seconds for one piece of an answer; a slower reader is cut off


class Call:
    """One call of the WSGI application, on a thread.

    A usual answer is complete and ends up in `whole`. A stream is sent chunk by chunk: the next chunk is
    made when the last one has been sent.
    """

    def __init__(
        self, application: WSGIApplication, environ: dict[str, Any], send: Send | None
    ) -> None:
        self.application, self.environ, self.send = application, environ, send
        self.loop = asyncio.get_running_loop()
        self.abandoned, self.begun = threading.Event(), False
        self.whole: Answer | None = None
        self.later: Later | None = None
        self.status = 500
        self.headers: Headers = []

    def abandon(self) -> None:
        self.abandoned.set()
        if not self.begun:  # its body need not be kept until a thread is free
            self.environ = {}

    def run(self) -> None:
        if self.abandoned.is_set():
            return
        self.begun = True
        chunks = self.application(self.environ, self.start_response)
        self.later = getattr(chunks, "later", None)
        try:
            if self.is_whole(chunks):
                headers = [header for header in self.headers if header[0] != b"content-length"]
                self.whole = Answer(self.status, headers, b"".join(chunks), self.length_for_head())
            else:
                self.stream(chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()

    def redirect(self, address: str) -> None:
        assert self.whole is not None
        headers = [header for header in self.whole.headers if header[0] != b"location"]
        headers.append((b"location", address.encode("latin-1")))
        self.whole = self.whole._replace(headers=headers)

    def is_whole(self, chunks: Iterable[bytes]) -> bool:
        # Complete already, or a file that is not large.
        if isinstance(chunks, list | tuple) or not getattr(chunks, "streaming", True):
            return True
        length = dict(self.headers).get(b"content-length", b"")
        return length.isdigit() and int(length) <= WHOLE

    def length_for_head(self) -> int | None:
        # An application may leave out the body of a HEAD and still tell its length.
        told = dict(self.headers).get(b"content-length", b"")
        return int(told) if self.environ["REQUEST_METHOD"] == "HEAD" and told.isdigit() else None

    def stream(self, chunks: Iterable[bytes]) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        self.pass_on(start)
        bodyless = self.environ["REQUEST_METHOD"] == "HEAD" or self.status in NO_BODY
        for chunk in () if bodyless else chunks:
            self.pass_on({"type": "http.response.body", "body": chunk, "more_body": True})
            if self.abandoned.is_set():
                return
        self.pass_on({"type": "http.response.body", "body": b"", "more_body": False})

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> None:
        self.status, self.headers = int(status[:3]), raw(headers)

    def pass_on(self, message: dict[str, Any]) -> None:
        if self.send is not None:
            sent: Any = self.send(message)
            asyncio.run_coroutine_threadsafe(sent, self.loop).result(SLOWEST)


def scheme_of(scope: Scope) -> str:
    """http or https, decided as Django does: by the proxy's header where one is set up."""
    if settings.SECURE_PROXY_SSL_HEADER is not None:
        variable, secure = settings.SECURE_PROXY_SSL_HEADER
        wanted = variable.removeprefix("HTTP_").replace("_", "-").lower().encode()
        for name, value in scope["headers"]:
            if name == wanted:
                first = value.decode("latin-1").split(",")[0].strip()
                return "https" if first == secure else "http"
    return str(scope["scheme"])


def environ_of(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of an ASGI request. Its texts are bytes decoded as Latin-1 (PEP 3333)."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    path = unquote_to_bytes(scope["raw_path"].partition(b"?")[0] or scope["path"].encode())
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:  # X_Forwarded_For would have the variable of X-Forwarded-For
            continue
        variable = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        between = "; " if variable == "HTTP_COOKIE" else ","
        environ[variable] = f"{environ[variable]}{between}{text}" if variable in environ else text
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the whole body is here
    environ.pop("HTTP_CONTENT_LENGTH", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    if content_type := environ.pop("HTTP_CONTENT_TYPE", None):
        environ["CONTENT_TYPE"] = content_type
    return environ
