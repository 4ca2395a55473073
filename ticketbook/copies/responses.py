"""Whole responses that many visitors get alike, answered from one copy.

A view marks such a response with `for_all`. What differs between visitors, such as the CSRF token, is
drawn as a placeholder, which is filled in for each of them. `CopiesMiddleware` finds or makes the copy;
a young one is also answered by the event loop (ticketbook/front/copies.py).
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.shortcuts import render
from django.utils.cache import get_conditional_response, patch_vary_headers

from ticketbook.copies.store import Copy, copy_of

MAX_KEY = 500  # characters; longer URLs are never popular, so they are not copied

CONDITIONS = {
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
}

Response = TypeVar("Response", bound=HttpResponseBase)
Fill = Callable[[HttpRequest], object]

# What differs between visitors: its name in a template's context, and what makes it.
_fills: dict[str, Fill] = {"csrf_token": get_token}


def differs_between_visitors(name: str, fill: Fill) -> None:
    """An app that draws a form declares its hidden fields here, in AppConfig.ready()."""
    _fills[name] = fill


def for_all(response: Response, placeholders: Mapping[str, str] | None = None) -> Response:
    """Mark a response that every visitor without a session gets, once the placeholders are filled."""
    response.placeholders = dict(placeholders or {})  # type: ignore[attr-defined]
    return response


def render_for_strangers(
    request: HttpRequest, template: str, context: dict[str, Any]
) -> HttpResponse:
    # New for each drawing, so that no text of a concert can look like a placeholder.
    placeholders = {name: uuid4().hex for name in _fills}
    response = render(request, template, context | placeholders)
    patch_vary_headers(response, ["Cookie"])  # as on the pages that look into the session
    return for_all(response, placeholders)


def is_stranger(request: HttpRequest) -> bool:
    """Whether this visitor has no session and no message waiting."""
    return request.COOKIES.keys() <= {settings.CSRF_COOKIE_NAME}


class NotForAll(Exception):
    """The view has answered this visitor only."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(self.__doc__)
        self.response = response


class CopiesMiddleware:
    """It comes before all middleware but that for errors, so that an answer from a copy costs no more than
    finding it.

    A copy is made of the response that all other middleware has seen. So it has their headers, and it
    exists only for hosts and schemes that they accept.
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
            copy = copy_of(key, lambda: self.make_copy(request))
        except NotForAll as answered:
            return answered.response
        return answer_from(copy, request)

    def make_copy(self, request: HttpRequest) -> Copy:
        response = self.whole_response(request)
        if not hasattr(response, "placeholders") or response.cookies:
            raise NotForAll(response)
        used = {n: p for n, p in response.placeholders.items() if p.encode() in response.content}
        if used:  # each visitor's page differs, and so do its ETag and length
            del response["ETag"], response["Content-Length"]
        return Copy(dict(response.items()), response.content, used)

    def whole_response(self, request: HttpRequest) -> HttpResponse:
        # Ask as a plain GET: the answer to a HEAD or a 304 would be of no use to the next visitor.
        method, conditions = request.method, CONDITIONS & request.META.keys()
        removed = {name: request.META.pop(name) for name in conditions}
        request.method = "GET"
        try:
            return self.get_response(request)
        finally:
            request.method = method
            request.META.update(removed)


def may_be_copied(path: str) -> bool:
    return path == "/" or path.startswith(
        settings.COPIED_FOR_EVERYBODY + settings.COPIED_FOR_STRANGERS
    )


def key_of(
    *, method: str | None, scheme: str | None, host: str, path: str, query: str, cookie: str
) -> Hashable | None:
    """All that a copied answer depends on; None if this request must not be answered from a copy."""
    if method not in {"GET", "HEAD"} or len(host) + len(path) + len(query) > MAX_KEY:
        return None
    if not may_be_copied(path):
        return None
    if path.startswith(settings.COPIED_FOR_EVERYBODY) or _has_only_our_csrf_cookie(cookie):
        return scheme, host, path, query
    return None


def _has_only_our_csrf_cookie(cookie: str) -> bool:
    return not cookie or parse_cookie(cookie).keys() <= {settings.CSRF_COOKIE_NAME}


def answer_from(copy: Copy, request: HttpRequest) -> HttpResponse:
    if copy.placeholders:
        # Django's CSRF middleware sets the cookie that belongs to the token that `fill_in` draws.
        return CsrfViewMiddleware(lambda request: _fill_in(copy, request))(request)  # type: ignore[return-value]
    # The server would drop the body of a HEAD, and log a warning each time.
    body = b"" if request.method == "HEAD" else copy.body
    response = HttpResponse(body, headers=copy.head)
    if CONDITIONS.isdisjoint(request.META):
        return response
    etag = copy.head.get("ETag")
    conditional = get_conditional_response(request, etag=etag, response=response)
    return conditional or response


def _fill_in(copy: Copy, request: HttpRequest) -> HttpResponse:
    body = copy.body
    for name, placeholder in copy.placeholders.items():
        body = body.replace(placeholder.encode(), str(_fills[name](request)).encode())
    response = HttpResponse(b"" if request.method == "HEAD" else body, headers=copy.head)
    response["Content-Length"] = str(len(body))
    return response
