"""The catalogue's reads: what is the same for all is answered from one copy (ticketbook/fresh.py).

On the event loop if the copy is young (`young_copy`), else on a thread (`ReadsMiddleware`), which makes
the next one.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar
from uuid import uuid4

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.utils.cache import get_conditional_response

from ticketbook.fresh import Copy, fresh, young
from ticketbook.front.answers import Answer, Scope, raw
from ticketbook.front.site import environ_of, scheme_of

API = "/api/v1/concerts"
PAGES = "/concerts/"
LONGEST = 500  # characters; longer URLs are never popular, so they are not kept

CONDITIONS = {
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
}

Response = TypeVar("Response", bound=HttpResponseBase)

# What a page has of each visitor's own: names in the template's context, and how each is filled.
HOLES: dict[str, Callable[[HttpRequest], object]] = {
    "csrf_token": get_token,
    "idempotency_key": lambda request: uuid4(),
}


def new_holes() -> dict[str, str]:
    """For one drawing only, so that no text of a concert can look like a hole."""
    return {name: uuid4().hex for name in HOLES}


def for_all(response: Response, holes: Mapping[str, str] | None = None) -> Response:
    """A view says with this that all visitors without a session get this answer, with the holes filled."""
    response.holes = dict(holes or {})  # type: ignore[attr-defined]
    return response


def is_stranger(request: HttpRequest) -> bool:
    """Nobody we know: no session, no message waiting."""
    return request.COOKIES.keys() <= {settings.CSRF_COOKIE_NAME}


class NotForAll(Exception):
    """This answer is for the one who asked."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(self.__doc__)
        self.response = response


class ReadsMiddleware:
    """Before all others, so that what many ask for costs no more than finding the copy.

    A copy is what the others made of the view's answer: with their headers, for a host that they
    accepted, over the scheme that they wanted.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        meta = request.META
        key = key_of(
            method=request.method,
            scheme=request.scheme,
            host=meta.get("HTTP_HOST") or f"{meta['SERVER_NAME']}:{meta['SERVER_PORT']}",
            path=request.path,
            query=meta.get("QUERY_STRING", ""),
            cookie=meta.get("HTTP_COOKIE", ""),
        )
        if key is None:
            return self.get_response(request)
        try:
            copy = fresh(key, lambda: self.make(request))
        except NotForAll as own:
            return own.response
        return answer(request, copy)

    def make(self, request: HttpRequest) -> Copy:
        """Ask the view, for the whole answer: a HEAD or a 304 would be of no use to the next one."""
        asked, conditions = request.method, CONDITIONS & request.META.keys()
        kept = {name: request.META.pop(name) for name in conditions}
        request.method = "GET"
        try:
            response = self.get_response(request)
        finally:
            request.method = asked
            request.META.update(kept)
        if not hasattr(response, "holes") or response.cookies:
            raise NotForAll(response)
        holes = {n: hole for n, hole in response.holes.items() if hole.encode() in response.content}
        if holes:  # what the visitors get differs, and so do its ETag and length
            del response["ETag"], response["Content-Length"]
        return Copy(dict(response.items()), response.content, holes)


def key_of(
    *, method: str | None, scheme: str | None, host: str, path: str, query: str, cookie: str
) -> Hashable | None:
    """All that an answer for all depends on; None if a copy must not answer this request."""
    if method not in {"GET", "HEAD"} or len(host) + len(path) + len(query) > LONGEST:
        return None
    for_everybody = path.startswith(API)
    for_strangers = path == "/" or path.startswith(PAGES)
    if for_everybody or (for_strangers and knows_only_our_csrf_token(cookie)):
        return scheme, host, path, query
    return None


def knows_only_our_csrf_token(cookie: str) -> bool:
    return not cookie or parse_cookie(cookie).keys() <= {settings.CSRF_COOKIE_NAME}


def answer(request: HttpRequest, copy: Copy) -> HttpResponse:
    if copy.holes:
        return CsrfViewMiddleware(lambda request: filled(request, copy))(request)  # type: ignore[return-value]
    # Of a HEAD the server would drop the body, and write a warning each time.
    body = b"" if request.method == "HEAD" else copy.body
    response = HttpResponse(body, headers=copy.head)
    if CONDITIONS.isdisjoint(request.META):
        return response
    etag = copy.head.get("ETag")
    conditional = get_conditional_response(request, etag=etag, response=response)
    return conditional or response


def filled(request: HttpRequest, copy: Copy) -> HttpResponse:
    body = copy.body
    for name, hole in copy.holes.items():
        body = body.replace(hole.encode(), str(HOLES[name](request)).encode())
    response = HttpResponse(b"" if request.method == "HEAD" else body, headers=copy.head)
    response["Content-Length"] = str(len(body))
    return response


# --- On the event loop --------------------------------------------------------------------------


def young_copy(scope: Scope) -> Answer | None:
    """The answer to a request, if there is a copy that will do; a thread makes the next one."""
    path = scope["path"]
    if not path.startswith(("/api/v1/concerts", "/concerts/")) and path != "/":
        return None
    host, cookie, conditional = "", "", False
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"cookie":
            cookie += f"{value.decode('latin-1')}; "
        elif name.startswith(b"if-"):
            conditional = True
    key = key_of(
        method=scope["method"],
        scheme=scheme_of(scope),
        host=host,
        path=path,
        query=scope["query_string"].decode("latin-1"),
        cookie=cookie,
    )
    copy = young(key) if key is not None and host else None
    if copy is None:
        return None
    if conditional or copy.holes:
        return as_sent(answer(WSGIRequest(environ_of(scope, b"")), copy), scope["method"])
    headers = [h for h in raw(copy.head.items()) if h[0] != b"content-length"]
    return Answer(200, headers, copy.body)


def as_sent(response: HttpResponse, method: str) -> Answer:
    headers = [h for h in raw(response.items()) if h[0] != b"content-length"]
    headers += [
        (b"set-cookie", morsel.OutputString().encode()) for morsel in response.cookies.values()
    ]
    length = int(response.get("Content-Length") or 0) if method == "HEAD" else None
    return Answer(response.status_code, headers, response.content, length)
