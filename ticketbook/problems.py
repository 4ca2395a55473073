"""Errors on their way out: RFC 9457 problem details for the API, a page for people."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from ticketbook.database import is_busy
from ticketbook.errors import Busy, NotFound, Refusal
from ticketbook.wire import ApiAnswer

SERVER_ERROR = "Something went wrong on our side. If you were booking, look at your bookings first."
PROBLEM_JSON = "application/problem+json"


def problem_body(*, status: int, code: str, detail: str, **facts: Any) -> dict[str, Any]:
    title = code.replace("_", " ").capitalize()
    return {
        "type": f"urn:ticketbook:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **facts,
    }


def problem(*, status: int, code: str, detail: str, **facts: Any) -> ApiAnswer:
    body = problem_body(status=status, code=code, detail=detail, **facts)
    return ApiAnswer(status, body, {"Content-Type": PROBLEM_JSON})


def describe_refusal(refusal: Refusal) -> ApiAnswer:
    described = problem(
        status=refusal.status, code=refusal.code, detail=str(refusal), **refusal.facts
    )
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        described.headers["WWW-Authenticate"] = "Token"
    if refusal.retry_after is not None:
        described.headers["Retry-After"] = str(refusal.retry_after)
    return described


# DRF's exceptions and the contract's codes; what the contract does not name keeps its own.
CODES: dict[type[exceptions.APIException], str] = {
    exceptions.ParseError: "invalid",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "not_authenticated",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.Throttled: "throttled",
}


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    set_rollback()
    described = describe(exc)
    return described.response if described else None


def describe(exc: Exception) -> ApiAnswer | None:
    """The problem that an exception is to the API's client; None if it is a bug of ours."""
    if isinstance(exc, Http404):
        exc = NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif is_busy(exc):
        exc = Busy()
    if isinstance(exc, Refusal):
        return describe_refusal(exc)
    if isinstance(exc, exceptions.ValidationError):
        return invalid(list(flat_errors(exc.get_full_details())))
    if not isinstance(exc, exceptions.APIException):
        return None
    code = next((code for kind, code in CODES.items() if isinstance(exc, kind)), exc.default_code)
    described = problem(status=exc.status_code, code=code, detail=str(exc.detail))
    if challenge := getattr(exc, "auth_header", None):
        described.headers["WWW-Authenticate"] = challenge
    if wait := getattr(exc, "wait", None):
        described.headers["Retry-After"] = str(int(wait) + 1)
    return described


def invalid(errors: list[dict[str, str]]) -> ApiAnswer:
    detail = " ".join(f"{e['field']}: {e['detail']}" if e["field"] else e["detail"] for e in errors)
    return problem(status=400, code="invalid", detail=detail, errors=errors)


def flat_errors(details: Any, field: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested details as the contract's flat list of {field, code, detail}."""
    if isinstance(details, list):
        for item in details:
            yield from flat_errors(item, field)
    elif isinstance(details.get("message"), str):
        yield {"field": field, "code": details["code"], "detail": details["message"]}
    else:
        for name, inner in details.items():
            name = "" if name == "non_field_errors" else name
            yield from flat_errors(inner, f"{field}.{name}" if field else name)


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def json_problem(*, status: int, code: str, detail: str) -> JsonResponse:
    """A problem for places outside DRF's views."""
    body = problem_body(status=status, code=code, detail=detail)
    return JsonResponse(body, status=status, content_type=PROBLEM_JSON)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "The server cannot make sense of this request. Check its address and headers."
    if is_api(request):
        return json_problem(status=400, code="invalid", detail=detail)
    return HttpResponse(f"<!doctype html><title>Bad request</title><p>{detail}</p>", status=400)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return json_problem(status=404, code="not_found", detail=str(NotFound()))
    try:
        return render(request, "404.html", status=404)
    except (OperationalError, InterfaceError):  # whose page it is, is not to be had now
        return render(None, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_api(request):
        return json_problem(status=500, code="server_error", detail=SERVER_ERROR)
    # No context processors: they may be what failed.
    return HttpResponse(
        f"<!doctype html><title>{HTTPStatus(500).phrase}</title><h1>Sorry</h1><p>{SERVER_ERROR}</p>",
        status=500,
    )


class BusyMiddleware:
    """A page that the database could not serve now answers 503 and asks to try again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if not is_busy(exc):
            return None
        busy = Busy()
        if is_api(request):
            response: HttpResponse = json_problem(
                status=busy.status, code=busy.code, detail=str(busy)
            )
        else:
            # Rendered without the request: its session and user may need the database.
            response = render(None, "503.html", {"detail": str(busy)}, status=busy.status)
        response["Retry-After"] = str(busy.retry_after)
        return response
