"""Whether the process is alive, whether it is ready, and what it tells about itself."""

import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from ticketbook.api.views import StrictView

STARTED = time.monotonic()
_migrated = False


class HealthMiddleware:
    """An early middleware, because load balancers ask by an address of the machine, without TLS.

    Django would refuse that host and that scheme.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = {"/livez": livez, "/readyz": readyz}.get(request.path_info, self.get_response)
        return answer(request)


def livez(request: HttpRequest) -> HttpResponse:
    # It asks nothing else, because restarting this process would not mend a database.
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    # For other web servers. Ours answers on its event loop (ticketbook/readiness.py).
    try:
        missing = why_not_ready()
    except (DatabaseError, InterfaceError):
        missing = SILENT
    if missing:
        return HttpResponse(f"not ready: {missing}\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


SILENT = "the database does not answer"
NO_WRITES = "the database takes no writes"


def why_not_ready() -> str:
    """What is missing; empty if nothing is. Raises what the database raises."""
    return why_no_writes() or why_not_migrated()


def why_no_writes() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"
        )
        return NO_WRITES if cursor.fetchone()[0] else ""


def why_not_migrated() -> str:
    if not _all_migrations_applied():
        return "migrations are missing; run manage.py migrate"
    return ""


def _all_migrations_applied() -> bool:
    # A yes is remembered, because asking loads every migration.
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


class HealthCheck(StrictView):
    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(
        summary="What the server tells about itself",
        responses=inline_serializer(
            "HealthCheck",
            {
                "status": serializers.CharField(),
                "timestamp": serializers.DateTimeField(),
                "uptime": serializers.FloatField(help_text="seconds"),
                "environment": serializers.CharField(),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        return Response(
            {
                "status": "ok",
                "timestamp": timezone.now(),
                "uptime": round(time.monotonic() - STARTED, 3),
                "environment": "development" if settings.DEBUG else "production",
            }
        )
