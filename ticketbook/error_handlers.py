"""What a request gets when no view answers it: a problem for the API, a page for people."""

from collections.abc import Callable
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from ticketbook.api.paths import is_api
from ticketbook.api.problems import PROBLEM_JSON, SERVER_ERROR, problem_body
from ticketbook.errors import Busy, NotFound, Throttled
from ticketbook.postgres.failures import is_busy


def _json_problem(*, status: int, code: str, detail: str) -> JsonResponse:
    body = problem_body(status=status, code=code, detail=detail)
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "The server cannot make sense of this request. Check its address and headers."
    if is_api(request.path):
        return _json_problem(status=400, code="invalid", detail=detail)
    return HttpResponse(f"<!doctype html><title>Bad request</title><p>{detail}</p>", status=400)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return _json_problem(status=404, code="not_found", detail=str(NotFound()))
    try:
        return render(request, "404.html", status=404)
    except (OperationalError, InterfaceError):
        # The page's user cannot be read now, so the page leaves it out.
        return render(None, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_api(request.path):
        return _json_problem(status=500, code="server_error", detail=SERVER_ERROR)
    # Without a template, because its context processors may be what failed.
    return HttpResponse(
        f"<!doctype html><title>{HTTPStatus(500).phrase}</title><h1>Sorry</h1><p>{SERVER_ERROR}</p>",
        status=500,
    )


THROTTLED = "ticketbook.throttled"


def answer_429(request: HttpRequest, throttled: Throttled) -> None:
    """Make the answer to this request a 429, whatever page the view draws."""
    request.META[THROTTLED] = throttled


class BusyMiddleware:
    """Answers 503 when a lane or the database is too busy, and 429 after too many attempts.

    Both ask to try again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if throttled := request.META.get(THROTTLED):
            response.status_code = throttled.status
            response["Retry-After"] = str(throttled.retry_after)
        return response

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if is_busy(exc):
            exc = Busy()
        if not isinstance(exc, Busy | Throttled):
            return None
        if is_api(request.path):
            response: HttpResponse = _json_problem(
                status=exc.status, code=exc.code, detail=str(exc)
            )
        else:
            # Without the request, because its session and user may need the database.
            template = "503.html" if isinstance(exc, Busy) else "refused.html"
            response = render(None, template, {"detail": str(exc)}, status=exc.status)
        response["Retry-After"] = str(exc.retry_after)
        return response
