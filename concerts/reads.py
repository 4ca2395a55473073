"""The catalogue's reads: what is the same for all is answered from one copy (ticketbook/fresh.py)."""

from collections.abc import Callable, Hashable
from typing import TypeVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.utils.cache import get_conditional_response, patch_vary_headers

from ticketbook.fresh import Copy, fresh

API = "/api/v1/concerts"
PAGES = {"/", "/concerts/"}
LONGEST = 500  # characters of an address; who asks for more asks for nothing that many ask for

CONDITIONS = {
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
}

Answer = TypeVar("Answer", bound=HttpResponseBase)


def for_all(response: Answer) -> Answer:
    """A view says with this that whoever asks for this address without a session gets this answer."""
    response.is_for_all = True  # type: ignore[attr-defined]
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
        key = key_of(request)
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
        if not getattr(response, "is_for_all", False) or response.cookies:
            raise NotForAll(response)
        return Copy(dict(response.items()), response.content)


def key_of(request: HttpRequest) -> Hashable | None:
    """All that an answer for all depends on; None if a copy must not answer this request."""
    path, meta = request.path_info, request.META
    if request.method not in {"GET", "HEAD"}:
        return None
    if not (path.startswith(API) or (path in PAGES and is_stranger(request))):
        return None
    host = meta.get("HTTP_HOST") or f"{meta['SERVER_NAME']}:{meta['SERVER_PORT']}"
    query = meta.get("QUERY_STRING", "")
    if len(host) + len(path) + len(query) > LONGEST:
        return None
    return request.scheme, host, meta.get("SCRIPT_NAME"), path, query


def answer(request: HttpRequest, copy: Copy) -> HttpResponse:
    # Of a HEAD the server would drop the body, and write a warning each time.
    body = b"" if request.method == "HEAD" else copy.body
    response = HttpResponse(body, headers=copy.head)
    if CONDITIONS.isdisjoint(request.META):
        return response
    etag = copy.head.get("ETag")
    conditional = get_conditional_response(request, etag=etag, response=response)
    return conditional or response


# --- Pages with something of each visitor's -------------------------------------------------------

# What a booking form has that no two drawings share, by its name in the template's context.
HOLES: dict[str, Callable[[HttpRequest], object]] = {
    "csrf_token": get_token,
    "idempotency_key": lambda request: uuid4(),
}


def for_each(request: HttpRequest, draw: Callable[[dict[str, str]], str]) -> HttpResponse:
    """A page for a stranger, drawn once for many with holes in it, and these filled for each."""
    copy = fresh(("drawn", request.path), lambda: drawn_with_holes(draw))
    body = copy.body
    for name, value in HOLES.items():
        if hole := copy.head.get(name):
            body = body.replace(hole.encode(), str(value(request)).encode())
    response = HttpResponse(body)
    patch_vary_headers(response, ["Cookie"])  # as if the session had been looked into
    return response


def drawn_with_holes(draw: Callable[[dict[str, str]], str]) -> Copy:
    # Of one drawing only, so that no text of a concert can look like a hole.
    holes = {name: uuid4().hex for name in HOLES}
    html = draw(holes)
    return Copy({name: hole for name, hole in holes.items() if hole in html}, html.encode())
