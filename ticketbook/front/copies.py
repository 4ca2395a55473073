"""Reads that the event loop answers by itself, because there is a young copy of the response."""

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse

from ticketbook.copies.responses import answer_from, key_of, may_be_copied
from ticketbook.copies.store import Copy, young_copy
from ticketbook.error_handlers import worded_for_api
from ticketbook.front.answers import Answer, Headers, Scope, raw
from ticketbook.front.calls import environ_of, scheme_of


def copied_answer(scope: Scope) -> Answer | None:
    """The answer to a request, or None if a thread has to make it."""
    path = scope["path"]
    if not may_be_copied(path):
        return None
    host, cookie, conditions = "", "", []
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"cookie":
            cookie += f"{value.decode('latin-1')}; "
        elif name.startswith(b"if-"):
            conditions.append((name, value))
    key = key_of(
        method=scope["method"],
        scheme=scheme_of(scope),
        host=host,
        path=path,
        query=scope["query_string"].decode("latin-1"),
        cookie=cookie,
    )
    copy = young_copy(key) if key is not None and host else None
    if copy is None:
        return None
    etag = copy.head.get("ETag")
    if etag and conditions == [(b"if-none-match", etag.encode())]:
        return _not_modified(copy)
    if conditions or copy.placeholders:
        request = WSGIRequest(environ_of(scope, b""))
        return _as_sent(worded_for_api(request, answer_from(copy, request)), scope["method"])
    return Answer(200, _without_length(raw(copy.head.items())), copy.body)


# What a 304 keeps of the headers, as Django has it (RFC 9110, 15.4.5).
KEPT = {"Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Last-Modified", "Vary"}


def _not_modified(copy: Copy) -> Answer:
    # Thousands of open pages ask in this way, so the answer is not made by Django, which takes twice as long.
    return Answer(304, raw((n, v) for n, v in copy.head.items() if n in KEPT), b"")


def _as_sent(response: HttpResponse, method: str) -> Answer:
    headers = _without_length(raw(response.items()))
    headers += [
        (b"set-cookie", morsel.OutputString().encode()) for morsel in response.cookies.values()
    ]
    if method != "HEAD":
        return Answer(response.status_code, headers, response.content)
    length = int(response.get("Content-Length") or len(response.content))
    return Answer(response.status_code, headers, response.content, length)


def _without_length(headers: Headers) -> Headers:
    return [header for header in headers if header[0] != b"content-length"]
