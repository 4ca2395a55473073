"""What pages tell browsers to refuse: foreign or inline scripts and styles, frames, forms that lead away.

The policy is in the settings. It is the same for every page, so pages are still answered from copies.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256

from csp.constants import HEADER
from csp.decorators import csp_update
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse

Origins = Callable[[], Iterable[str]]

_elsewhere: list[Origins] = []


def forms_may_lead_to(origins: Origins) -> None:
    """An app whose forms redirect to other sites declares their origins here, in AppConfig.ready().

    Chromium and Safari look at `form-action` again when the answer to a form is a redirect. If it leads to
    an origin that is not there, the customer presses a button and nothing happens.
    """
    if origins not in _elsewhere:
        _elsewhere.append(origins)


def _elsewhere_now() -> tuple[str, ...]:
    return tuple(sorted({origin for origins in _elsewhere for origin in origins()}))


@lru_cache(maxsize=100)
def _policy(
    form_action: tuple[str, ...], more: tuple[tuple[str, tuple[str, ...]], ...] = ()
) -> str:
    # Building it takes longer than all else that a middleware does.
    return build_policy(update=dict(more) | {"form-action": form_action})


def page_headers() -> dict[str, str]:
    """For pages that are made without Django's middleware."""
    return {
        HEADER: _policy(_elsewhere_now()),
        "Permissions-Policy": settings.PERMISSIONS_POLICY,
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": settings.X_FRAME_OPTIONS,
    }


def may_have_styles(response: HttpResponse, styles: Iterable[str]) -> HttpResponse:
    """Allow exactly these `style` attributes in one page, and in documents that it has inside."""
    hashes = {b64encode(sha256(style.encode()).digest()).decode() for style in styles}
    allowed = ["'unsafe-hashes'", *sorted(f"'sha256-{each}'" for each in hashes)]
    csp_update({"style-src": allowed})(lambda _: response)(HttpRequest())
    return response


class PageSecurityMiddleware:
    """For HTML only: in JSON there is nothing to run, and its answers are to stay short.

    It takes the place of django-csp's own middleware, which knows nonces and builds the policy for each
    answer. A view may add to the policy by `csp_update`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/html")
        drawn_by_debug = settings.DEBUG and response.status_code in {404, 500}  # with inline styles
        if is_page and not drawn_by_debug:
            update: dict[str, list[str]] = getattr(response, "_csp_update", None) or {}
            more = tuple((name, tuple(values)) for name, values in update.items())
            response[HEADER] = _policy(_elsewhere_now(), more)
            response["Permissions-Policy"] = settings.PERMISSIONS_POLICY
        return response
