"""POST /payments/{gateway}/events, on a thread and on the event loop."""

import logging
from collections.abc import Mapping

from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bookings import events
from bookings.hot_api import is_for_us
from ticketbook import event_loop
from ticketbook.api.answers import ApiAnswer
from ticketbook.api.problems import SERVER_ERROR, describe, problem
from ticketbook.front.answers import Answer, Scope, rendered
from ticketbook.front.front import Handler
from ticketbook.front.site import Endpoint, Site

logger = logging.getLogger(__name__)


class Events(APIView):
    permission_classes = [AllowAny]
    authentication_classes = []
    schema = None  # not for clients of the API

    def post(self, request: Request, gateway: str) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return event_loop.run(_answer(gateway, request.body, headers)).response


async def _answer(gateway: str, body: bytes, headers: Mapping[str, str]) -> ApiAnswer:
    try:
        await events.receive(gateway, body, headers)
    except Exception as exc:
        if described := describe(exc):
            return described
        logger.exception("A webhook of %s failed", gateway)
        return problem(status=500, code="server_error", detail=SERVER_ERROR)
    return ApiAnswer(200, {}, {})


def endpoints() -> dict[Endpoint, Handler]:
    """The hot endpoints of the gateways that send events."""
    return {
        ("POST", f"/payments/{name}/events"): _on_the_loop(name)
        for name in events.gateways_with_events()
    }


def _on_the_loop(gateway: str) -> Handler:
    async def handle(scope: Scope, body: bytes, site: Site) -> Answer | None:
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        if not is_for_us(scope, headers.get("host", "")):
            return None
        return rendered(await _answer(gateway, body, headers), site.common_headers(scope))

    return handle
