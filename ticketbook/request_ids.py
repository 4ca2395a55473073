"""The id of a request: people read it on an error page, and staff find it in the log.

It is on every error page, in problems of the API from 500 on, in the header X-Request-ID of these answers,
and in the log, which has no line for a refusal below 500. A trusted proxy may name it; otherwise it is made
here.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from secrets import token_hex

from django.http import HttpRequest, HttpResponse

from ticketbook.api.paths import is_api
from ticketbook.client_address import is_trusted

HEADER = "X-Request-ID"
READABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")  # it goes into pages, headers and the log

# Of the request that this thread or task works on, or worked on last.
current: ContextVar[str] = ContextVar("request_id", default="")


def begin(peer: str, given: str) -> str:
    """The id of the request that begins: what the peer of its connection gave, if it is a trusted proxy."""
    chosen = given if READABLE.fullmatch(given) and is_trusted(peer) else token_hex(8)
    current.set(chosen)
    return chosen


def begin_scope(scope: Mapping[str, object]) -> str:
    """The same for a request that Django does not see."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    client: tuple[str, int] = scope.get("client") or ("", 0)  # type: ignore[assignment]
    return begin(client[0], given.decode("latin-1"))


def tells_id(path: str, status: int) -> bool:
    """Whether an answer has the id."""
    if (
        status == HTTPStatus.PRECONDITION_FAILED
    ):  # no error: it tells a cache about its copy, and has no page
        return False
    return status >= (500 if is_api(path) else 400)


class RequestIdMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # It is not forgotten afterwards, because Django logs an error after all middleware.
        meta = request.META
        request_id = begin(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_REQUEST_ID", ""))
        response = self.get_response(request)
        if tells_id(request.path, response.status_code):
            response[HEADER] = request_id
        return response
