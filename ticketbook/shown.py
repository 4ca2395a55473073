"""What a page of the back office showed: a digest of each field, signed, in a hidden part of the page."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils import formats, timezone

SEEN = "_seen"  # the hidden part


def spelled(field: forms.Field, value: Any) -> Any:
    """A value as a browser sends it; the same for what is stored and for the same thing typed."""
    if own := getattr(field, "spelled", None):
        return own(value)
    if isinstance(field, forms.MultiValueField):
        parts = value if isinstance(value, list) else field.widget.decompress(value)
        return [spelled(part, each) for part, each in zip(field.fields, parts, strict=True)]
    if not isinstance(field, forms.ModelChoiceField):  # which would ask the database
        with suppress(ValidationError):
            value = field.to_python(value)
    value = field.prepare_value(value)
    if isinstance(field, (forms.ModelMultipleChoiceField, forms.MultipleChoiceField)):
        return sorted(str(each) for each in value or [])
    if isinstance(value, Decimal):
        with suppress(ArithmeticError):
            value = value.normalize()
    # Browsers send the ends of lines in their own way.
    return "" if value is None else "\n".join(str(value).splitlines())


def digest(field: forms.Field, value: Any) -> str:
    return blake2b(json.dumps(spelled(field, value)).encode(), digest_size=8).hexdigest()


Rows = dict[str, dict[str, str]]  # a digest of each field of each row


def key_of(model: type[models.Model], pk: object) -> str:
    return f"{model._meta.label}/{pk}"


class Shown:
    """What the page showed from which a form was sent; all of it is unknown if the page does not say."""

    def __init__(self, request: HttpRequest, row: models.Model | None) -> None:
        self.request, self.row = request, row

    @cached_property
    def _signed(self) -> tuple[float, Rows] | None:
        try:
            at, rows = signing.loads(self.request.POST[SEEN], salt=SEEN)
        except (KeyError, TypeError, ValueError, signing.BadSignature):
            return None
        # A page says what it showed of its own row only.
        is_of_this_row = self.row is not None and key_of(type(self.row), self.row.pk) in rows
        return (at, rows) if is_of_this_row else None

    @cached_property
    def is_unknown(self) -> bool:
        """Whether the form may be out of date.

        A client that sends no hidden part has perhaps never read the form. It is believed, unless somebody
        else has changed the row since its user logged in.
        """
        if self.row is None or self._signed:
            return False
        user: Any = self.request.user
        return SEEN in self.request.POST or (
            self._changes(since=user.last_login).exclude(user=user).exists()
        )

    def of(self, model: type[models.Model], pk: object) -> dict[str, str] | None:
        return self._signed[1].get(key_of(model, pk)) if self._signed else None

    @property
    def claims_nothing(self) -> bool:
        return self._signed is None and not self.is_unknown

    def _changes(self, *, since: datetime) -> models.QuerySet[LogEntry]:
        assert self.row is not None
        entries = LogEntry.objects.filter(
            content_type=get_content_type_for_model(self.row),
            object_id=self.row.pk,
            action_flag=CHANGE,
            action_time__gte=since,
        )
        return entries.select_related("user").order_by("-action_time")

    def changed_by(self, label: str, *, in_a_line: bool) -> str:
        """Who has changed the field with this label since the page was made, and when; "" if unknown."""
        if not self._signed:
            return ""
        since = datetime.fromtimestamp(self._signed[0], UTC)
        for entry in self._changes(since=since)[:20]:
            if label in _labels(entry, in_a_line):
                who = "you" if entry.user_id == self.request.user.pk else str(entry.user)
                when = timezone.localtime(entry.action_time)
                return f" by {who} at {formats.date_format(when, 'H:i')} ({when:%Z})"
        return ""


def _labels(entry: LogEntry, in_a_line: bool) -> Iterator[str]:
    with suppress(ValueError):  # a verb writes a sentence
        for part in json.loads(entry.change_message or "[]"):
            changed = part.get("changed", {})
            if ("name" in changed) == in_a_line:
                yield from changed.get("fields", [])


def signed(rows: Rows) -> str:
    """The hidden part of a page that shows these rows now."""
    return signing.dumps((int(time.time()), rows), salt=SEEN, compress=True)
