"""What the API accepts: JSON, whatever the client's headers say, and only what the contract names."""

import decimal
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Set
from typing import IO, Any, ClassVar

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from ticketbook.errors import TooLarge

MAX_BODY = 16 * 1024  # bytes; the largest body of the contract is below 1 KiB
MAX_DISCARDED = 16 * 1024 * 1024  # bytes; a client that sends more loses the connection

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


MONEY_TEXT = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")


class AlwaysJSON(BaseContentNegotiation):
    """The API knows only JSON, so the headers Accept and Content-Type change nothing."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


def _discard(stream: IO[bytes]) -> None:
    # A client that is still sending would not see our answer, so the rest of the body is read. (Behind the
    # front the whole body is here already.)
    left = MAX_DISCARDED
    while left > 0 and (chunk := stream.read(min(left, 64 * 1024))):
        left -= len(chunk)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _integer(digits: str) -> int:
    # Python reads no number of thousands of digits. All that long are out of range.
    return int(digits[:100])


def _printable(name: str) -> str:
    # JSON can name a field by half a character (a lone surrogate), which an answer cannot repeat.
    return name.encode(errors="replace").decode()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers of JSON differ in which of two equal keys they take, so none is taken.
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = {_printable(name): ["Send it once."] for name in names if names.count(name) > 1}
        raise ValidationError(repeated, code="repeated_field")
    return data


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            _discard(stream)
            raise TooLarge
        try:
            data = json.loads(
                body.decode("utf-8-sig"),  # some programs begin a file with a byte order mark
                parse_constant=_refuse_constant,
                parse_int=_integer,
                object_pairs_hook=_without_repeats,
            )
        except (ValueError, RecursionError):
            raise ValidationError("The body is not JSON.", code="not_json") from None
        if not isinstance(data, dict):
            raise ValidationError("The body must be a JSON object.", code="not_an_object")
        return data


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields, so that a misspelt one is not lost in silence.

    null counts as absent in the fields that `null_is_absent` names.
    """

    null_is_absent: ClassVar[Set[str]] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        unknown = {
            _printable(name): ["This field is not known. Remove it."]
            for name in data
            if name not in self.fields
        }
        if unknown:
            raise ValidationError(unknown, code="unknown_field")
        absent = {name for name in self.null_is_absent if data.get(name, "") is None}
        return super().to_internal_value({n: v for n, v in data.items() if n not in absent})


class StrictIntegerField(serializers.IntegerField):
    """A JSON number without a fraction. It refuses "2", 2.0 and true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictUUIDField(serializers.UUIDField):
    """The usual text form of a UUID. It refuses the other forms that Python's UUID takes."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not UUID_TEXT.fullmatch(data):
            self.fail("invalid", value=data)
        return uuid.UUID(data)


class StrictMoneyField(serializers.DecimalField):
    """An amount of money as text, such as "120.00". It refuses numbers, because 0.1 is not exact in JSON."""

    default_error_messages = {
        "invalid": 'Send an amount as a string, such as "120.00", up to 99999999.99 and with at most two '
        "decimals."
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=10, decimal_places=2, min_value=decimal.Decimal(0), **kwargs)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        # Only null is null. DRF's field takes blank text for null too.
        return serializers.Field.validate_empty_values(self, data)

    def to_internal_value(self, data: Any) -> decimal.Decimal:
        if not isinstance(data, str) or not MONEY_TEXT.fullmatch(data):
            self.fail("invalid")
        return decimal.Decimal(data)


class StrictCharField(serializers.CharField):
    """A JSON string. It refuses numbers."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictEmailField(StrictCharField, serializers.EmailField):
    pass
