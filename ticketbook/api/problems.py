"""Errors of the API as problem details (RFC 9457)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from ticketbook import request_ids
from ticketbook.api.answers import ApiAnswer
from ticketbook.errors import BadParameter, Busy, NotFound, Refusal, TooLarge, TooSlow
from ticketbook.postgres.failures import is_busy, log_if_broken

SERVER_ERROR = "Something went wrong on our side. If you were booking, look at your bookings first."
PROBLEM_JSON = "application/problem+json"

# Errors that no view of ours has worded: those of HTTP itself, by their status.
OF_HTTP = {
    400: (
        "invalid",
        "The server cannot make sense of this request. Check its address and headers.",
    ),
    404: ("not_found", str(NotFound())),
    405: (
        "method_not_allowed",
        "This address does not take this method. The header Allow names those it takes.",
    ),
    408: ("too_slow", str(TooSlow())),
    412: (
        "precondition_failed",
        "The header If-Match or If-Unmodified-Since does not fit what is here now. Read it again.",
    ),
    413: ("too_large", str(TooLarge())),
    414: ("uri_too_long", "The address is too long. Send less in it."),
    426: ("upgrade_required", "A WebSocket needs version 13 of its protocol. There is none here."),
    431: ("headers_too_large", "The headers are too many or too large. Send fewer of them."),
    500: ("server_error", SERVER_ERROR),
    501: (
        "not_implemented",
        "The server does not know this Transfer-Encoding. Send the body as it is, or in chunks.",
    ),
    503: ("busy", str(Busy())),
}


def problem_body(*, status: int, code: str, detail: str, **facts: Any) -> dict[str, Any]:
    title = code.replace("_", " ").capitalize()
    if status >= 500 and (request_id := request_ids.current.get()):
        facts["requestId"] = request_id
    return {
        "type": f"urn:ticketbook:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **facts,
    }


def problem_of_http(status: int) -> dict[str, Any]:
    code, detail = OF_HTTP.get(status) or (
        HTTPStatus(status).phrase.lower().replace(" ", "_"),
        f"The server refuses this request: {HTTPStatus(status).phrase}.",
    )
    return problem_body(status=status, code=code, detail=detail)


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


# DRF's exceptions and the codes of our API. An exception that is not listed keeps its own code.
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
    if described and "request" in context:
        context["request"].accepted_renderer = JSONRenderer()  # the page of the API has another one
    return described.response if described else None


def describe(exc: Exception) -> ApiAnswer | None:
    """The problem for the client; None if the exception is a bug of ours."""
    if isinstance(exc, Http404):
        exc = NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif is_busy(exc):
        log_if_broken(exc)
        exc = Busy()
    if isinstance(exc, BadParameter):
        return invalid([{"field": exc.field, "code": exc.code, "detail": str(exc)}])
    if isinstance(exc, Refusal):
        return describe_refusal(exc)
    if isinstance(exc, exceptions.ValidationError):
        return invalid(list(_flat_errors(exc.get_full_details())))
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


def _flat_errors(details: Any, field: str = "") -> Iterator[dict[str, str]]:
    # DRF's nested details as a flat list of {field, code, detail}.
    if isinstance(details, list):
        for item in details:
            yield from _flat_errors(item, field)
    elif isinstance(details.get("message"), str):
        yield {"field": field, "code": details["code"], "detail": details["message"]}
    else:
        for name, inner in details.items():
            name = "" if name == "non_field_errors" else name
            yield from _flat_errors(inner, f"{field}.{name}" if field else name)
