"""What pages tell browsers to refuse: foreign or inline scripts and styles, frames, forms that lead away.

The policy is in the settings. It is the same for every page, so pages are still answered from copies.
"""

from collections.abc import Callable, Iterable

from csp.constants import HEADER
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Origins = Callable[[], Iterable[str]]

_elsewhere: list[Origins] = []


def forms_may_lead_to(origins: Origins) -> None:
    """An app whose forms redirect to other sites declares their origins here, in AppConfig.ready().

    Chromium and Safari look at `form-action` again when the answer to a form is a redirect. If it leads to
    an origin that is not there, the customer presses a button and nothing happens.
    """
    if origins not in _elsewhere:
        _elsewhere.append(origins)


def _form_action() -> dict[str, list[str]]:
    return {"form-action": sorted({origin for origins in _elsewhere for origin in origins()})}


def page_headers() -> dict[str, str]:
    """For pages that are made without Django's middleware."""
    return {
        HEADER: build_policy(update=_form_action()),
        "Permissions-Policy": settings.PERMISSIONS_POLICY,
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": settings.X_FRAME_OPTIONS,
    }


class PageSecurityMiddleware(CSPMiddleware):
    """For HTML only: in JSON there is nothing to run, and its answers are to stay short."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.get("Content-Type", "").startswith("text/html"):
            response = super().process_response(request, response)
            response["Permissions-Policy"] = settings.PERMISSIONS_POLICY
        return response

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only:
            parts.update = _form_action() | (parts.update or {})
        return parts
