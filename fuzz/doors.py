"""The doors of the site, found in its URL configuration, its OpenAPI document and its forms.

A door that is added later is found by itself.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from bookings.models import Booking
from concerts.models import Concert, TicketTier
from tickets.models import Ticket

# Parameters of addresses that no page names: those of the admin's lists, and of log-in.
QUERY_OF_PAGES = [
    "next", "q", "o", "p", "e", "all", "_popup", "_to_field", "_changelist_filters", "term", "app_label",
    "model_name", "field_name", "id", "id__in", "id__exact", "status__exact", "date__gte", "date__year",
    "created_at__date", "page", "cursor", "limit", "tier", "quantity", "format", "search", "artist", "venue",
    "dateFrom", "dateTo", "available", "user__password__startswith",
]  # fmt: skip

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Door:
    """An address with places for its parameters, and what may be sent to it."""

    route: str  # such as /bookings/<uuid:booking_id>/
    values: dict[str, str] = field(hash=False, compare=False)  # parameters that exist now
    query: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()  # of a JSON body
    method: str = "GET"

    @property
    def is_api(self) -> bool:
        return self.route.startswith("/api/")

    @property
    def parameters(self) -> list[str]:
        return PARAMETER.findall(self.route)

    def path(self, **instead: bytes) -> bytes:
        """The address, with real values but for those in `instead`."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            text = instead[name].decode("latin-1") if name in instead else self.values.get(name)
            return "0" if text is None else text

        return PARAMETER.sub(value, self.route).encode("latin-1")


def doors(openapi: dict[str, Any]) -> list[Door]:
    """Every address of the site; those of the API once for each operation."""
    found = []
    for route in routes(get_resolver().url_patterns, "/"):
        if not route.startswith("/api/"):
            found.append(Door(route, real_values(route), tuple(QUERY_OF_PAGES)))
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            route = path.replace("{", "<").replace("}", ">")
            query = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            fields = tuple(_body_fields(operation, openapi))
            found.append(Door(route, real_values(route), (*query, "x"), fields, method.upper()))
    return [*found, Door("/api/v1/docs", {}), Door("/api/v1/openapi.json", {}), Door("/livez", {})]


def routes(patterns: Iterable[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for pattern in patterns:
        if not isinstance(pattern.pattern, RoutePattern):
            continue  # the admin's "everything else"
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def _body_fields(operation: dict[str, Any], openapi: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    yield from openapi["components"]["schemas"].get(name, schema).get("properties", {})


def real_values(route: str) -> dict[str, str]:
    """A row that exists for each parameter of a route."""
    values: dict[str, str] = {"gateway": "hosted"}
    booking = Booking.objects.order_by("?").select_related("user").first()
    if booking is not None:
        values |= {"booking_id": str(booking.pk), "public_id": booking.user.public_id}
        values["user_id"] = values["public_id"]
    if ticket := Ticket.objects.with_details().order_by("?").first():
        values |= {"ticket_id": str(ticket.pk), "token": ticket.token, "number": str(ticket.number)}
    if concert := Concert.objects.filter(status="PUBLISHED").order_by("?").first():
        values["concert_id"] = str(concert.pk)
        if tier := TicketTier.objects.filter(concert=concert).first():
            values["tier_id"] = str(tier.pk)
    if in_admin := re.match(r"/admin/(\w+)/(\w+)/", route):
        with suppress(LookupError):  # such as /admin/password_change/done/
            rows = apps.get_model(in_admin[1], in_admin[2]).objects
            if row := rows.order_by("?").first():
                values["object_id"] = values["id"] = str(row.pk)
    return values


class FormFields(HTMLParser):
    """The fields of the forms on a page, with their values: `FormFields.of(html)`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.selected = ""

    @classmethod
    def of(cls, html: str) -> dict[str, str]:
        parser = cls()
        parser.feed(html)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"input", "textarea", "select", "button"} and (name := given.get("name")):
            unchecked = given.get("type") in {"checkbox", "radio"} and "checked" not in given
            self.found.setdefault(name, "" if unchecked else given.get("value", ""))
            self.selected = name if tag == "select" else ""
        if tag == "option" and self.selected and "selected" in given:
            self.found[self.selected] = given.get("value", "")
