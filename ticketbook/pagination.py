"""Pages that begin after a key, not at a number. So rows that are added meanwhile shift nothing."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from rest_framework.request import Request

from ticketbook.errors import BadParameter

Row = TypeVar("Row", bound=Model)


def in_utc(moment: datetime) -> datetime:
    # PostgreSQL does not accept every offset that Python does.
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment.astimezone(UTC)


DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Page(Generic[Row]):
    """One page of `queryset`, which must be ordered by `keys` ("-" means descending).

    The keys together are unique, and may be fields of related rows that the queryset selects too. `limit` (1
    to 200, unless the caller sets it) and `cursor` come from the request's query. `also` is what the address
    of the next page has besides. Raises BadParameter.
    """

    def __init__(
        self,
        queryset: QuerySet[Row],
        request: Request | HttpRequest,
        *,
        keys: Sequence[str],
        limit: int | None = None,
        also: Mapping[str, str] | None = None,
    ) -> None:
        self.model = queryset.model
        self.also = also or {}
        self.request = request
        self.keys = keys
        self.limit = limit or self._limit()
        if cursor := request.GET.get("cursor"):
            queryset = queryset.filter(self._after(cursor))
        rows = list(queryset[: self.limit + 1])
        self.rows = rows[: self.limit]
        self.has_next = len(rows) > self.limit

    @property
    def headers(self) -> dict[str, str]:
        """`Link: <…>; rel="next"` (RFC 8288), unless this is the last page."""
        if not self.has_next:
            return {}
        url = self.request.build_absolute_uri(f"{self.request.path}{self.next_query}")
        return {"Link": f'<{url}>; rel="next"'}

    @property
    def next_query(self) -> str:
        """The query string of the next page; empty on the last one."""
        if not self.has_next:
            return ""
        query = self.request.GET.copy()
        for name, value in self.also.items():
            query[name] = value
        query["cursor"] = self._cursor(self.rows[-1])
        return f"?{query.urlencode()}"

    def _limit(self) -> int:
        text = self.request.GET.get("limit", str(DEFAULT_LIMIT))
        if not (re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= MAX_LIMIT):
            raise BadParameter("limit", f"Ask for 1 to {MAX_LIMIT} at a time.")
        return int(text)

    def _cursor(self, row: Row) -> str:
        values = [str(reduce(getattr, _path(key), row)) for key in self.keys]
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    def _after(self, cursor: str) -> Q:
        # Further in the first key, or equal there and further in the next, and so on.
        try:
            values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            after, equal = Q(), Q()
            for key, value in zip(self.keys, values, strict=True):
                name = key.lstrip("-")
                if not isinstance(value, str):
                    raise TypeError
                value = self._field(key).to_python(value)
                if isinstance(value, datetime):
                    value = in_utc(value)
                after |= equal & Q(**{f"{name}__{'lt' if key.startswith('-') else 'gt'}": value})
                equal &= Q(**{name: value})
        except (ValueError, TypeError, OverflowError, RecursionError, ValidationError):
            raise BadParameter(
                "cursor", "This cursor is not one of ours. Follow the Link header."
            ) from None
        return after

    def _field(self, key: str) -> Any:
        model: Any = self.model
        for name in _path(key):
            field: Any = model._meta.get_field(name)
            model = field.related_model
        return field


def _path(key: str) -> list[str]:
    return key.lstrip("-").split("__")
