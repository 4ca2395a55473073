"""What a request gets when no view answers it: a problem for the API, a page for people."""

import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from ticketbook.api.paths import is_api
from ticketbook.api.problems import (
    PROBLEM_JSON,
    SERVER_ERROR,
    problem_body,
    problem_of_http,
)
from ticketbook.errors import Busy, NotFound, Refusal, Throttled, TooLarge
from ticketbook.postgres.failures import is_busy, log_if_broken

logger = logging.getLogger(__name__)

TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def _json_problem(*, status: int, code: str, detail: str) -> JsonResponse:
    body = problem_body(status=status, code=code, detail=detail)
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, TOO_LARGE):
        return _too_large(request)
    if is_api(request.path):
        return JsonResponse(problem_of_http(400), status=400, content_type=PROBLEM_JSON)
    # Without the request, because its host may be what cannot be read.
    return render(None, "400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, "403.html", status=403)


def _too_large(request: HttpRequest) -> HttpResponse:
    refusal = TooLarge()
    if is_api(request.path):
        return _json_problem(status=refusal.status, code=refusal.code, detail=str(refusal))
    return _refused(refusal)


def _refused(refusal: Refusal) -> HttpResponse:
    # Without the request, because its session and user may need the database.
    context = {"detail": str(refusal), "status": refusal.status}
    template = "503.html" if isinstance(refusal, Busy) else "refused.html"
    return render(None, template, context, status=refusal.status)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request.path):
        return _json_problem(status=404, code="not_found", detail=str(NotFound()))
    return _page(request, "404.html", status=404)


def _page(request: HttpRequest, template: str, *, status: int) -> HttpResponse:
    try:
        return render(request, template, status=status)
    except (OperationalError, InterfaceError):
        # The page's user cannot be read now, so the page leaves it out.
        return render(None, template, status=status)


# Django's words for a token that is well made but not the one of this browser. A foreign page is refused
# before, by its origin.
STALE_TOKEN = "CSRF token from POST incorrect."


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Nothing is done. If the page was only out of date, its view may draw the form anew.

    The token changes when somebody logs in, also in another tab. The class of a view that can draw its form
    anew has a method `out_of_date`.
    """
    match = request.resolver_match
    view_class: Any = getattr(match.func, "view_class", None) if match else None
    if match and reason == STALE_TOKEN and hasattr(view_class, "out_of_date"):
        view = view_class(**match.func.view_initkwargs)  # type: ignore[attr-defined]
        view.setup(request, *match.args, **match.kwargs)
        response: HttpResponse = view.out_of_date(request, *match.args, **match.kwargs)
        return response
    return render(request, "403_csrf.html", status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    # A middleware may have lost the database, as when it reads or saves a session.
    exc = sys.exc_info()[1]
    if exc is not None and (answer := _come_back(request, exc)):
        return answer
    if is_api(request.path):
        return _json_problem(status=500, code="server_error", detail=SERVER_ERROR)
    try:  # without the request, because what belongs to it may be what failed
        return render(None, "500.html", status=500)
    except Exception:
        logger.exception("The page of errors failed")
    return HttpResponse(
        f"<!doctype html><title>{HTTPStatus(500).phrase}</title><h1>Sorry</h1><p>{SERVER_ERROR}</p>",
        status=500,
    )


def worded_for_api(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The response, or its problem if it is an error of the API that no view has worded.

    OPTIONS is answered with the methods alone.
    """
    if not is_api(request.path):
        return response
    if request.method == "OPTIONS" and response.status_code == 200:
        response = HttpResponse(status=204, headers={"Allow": response.get("Allow", "")})
        del response["Content-Type"]  # Django's default says HTML
        return response
    if response.status_code < 400 or response.get("Content-Type") == PROBLEM_JSON:
        return response
    body = problem_of_http(response.status_code)
    worded = JsonResponse(body, status=response.status_code, content_type=PROBLEM_JSON)
    for name in response.headers:
        if not name.startswith("Content-"):
            worded[name] = response[name]
    return worded


class ApiErrorsMiddleware:
    """Under /api/ every error is a problem, whichever middleware or view has made it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return worded_for_api(request, self.get_response(request))


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
        return _come_back(request, exc)


def _come_back(request: HttpRequest, exc: BaseException) -> HttpResponse | None:
    """The answer to an exception that asks to try again later; None for any other."""
    if is_busy(exc):
        log_if_broken(exc)
        exc = Busy()
    if not isinstance(exc, Busy | Throttled):
        return None
    if is_api(request.path):
        response: HttpResponse = _json_problem(status=exc.status, code=exc.code, detail=str(exc))
    else:
        response = _refused(exc)
    response["Retry-After"] = str(exc.retry_after)
    return response
