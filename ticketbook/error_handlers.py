"""What a request gets when no view answers it: a problem for the API, a page for people."""

from collections.abc import Callable
from http import HTTPStatus

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from ticketbook.api.paths import is_api
from ticketbook.api.problems import PROBLEM_JSON, SERVER_ERROR, problem_body
from ticketbook.errors import Busy, NotFound, TooLarge
from ticketbook.postgres.failures import is_busy

TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def _json_problem(*, status: int, code: str, detail: str) -> JsonResponse:
    body = problem_body(status=status, code=code, detail=detail)
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, TOO_LARGE):
        return _too_large(request)
    detail = "The server cannot make sense of this request. Check its address and headers."
    if is_api(request.path):
        return _json_problem(status=400, code="invalid", detail=detail)
    return HttpResponse(f"<!doctype html><title>Bad request</title><p>{detail}</p>", status=400)


def _too_large(request: HttpRequest) -> HttpResponse:
    refusal = TooLarge()
    if is_api(request.path):
        return _json_problem(status=refusal.status, code=refusal.code, detail=str(refusal))
    return render(None, "refused.html", {"detail": str(refusal)}, status=refusal.status)


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


class BusyMiddleware:
    """Answers 503 when a lane or the database is too busy, and asks to try again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not (isinstance(exc, Busy) or is_busy(exc)):
            return None
        busy = Busy()
        if is_api(request.path):
            response: HttpResponse = _json_problem(
                status=busy.status, code=busy.code, detail=str(busy)
            )
        else:
            # Without the request, because its session and user may need the database.
            response = render(None, "503.html", {"detail": str(busy)}, status=busy.status)
        response["Retry-After"] = str(busy.retry_after)
        return response
