"""An answer of the front, and how it is sent."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from ticketbook.api.answers import ApiAnswer
from ticketbook.api.problems import describe_refusal
from ticketbook.api.times import api_time
from ticketbook.errors import Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    status: int
    headers: Headers  # all but Content-Length
    body: bytes
    length: int | None = None  # Content-Length of an answer to HEAD, whose body is left out


NO_BODY = {204, 304}  # and no Content-Length either


def raw(headers: Iterable[tuple[str, str]]) -> Headers:
    # Stripped, because Django puts a space before a cookie.
    return [(n.lower().encode("latin-1"), v.strip().encode("latin-1")) for n, v in headers]


JSON = (b"content-type", b"application/json")


def rendered(answer: ApiAnswer, common: Headers) -> Answer:
    """The same bytes that DRF's renderer makes. `common` are headers that every answer has."""
    headers = [*raw(answer.headers.items()), *common]
    if "Content-Type" not in answer.headers:
        headers.append(JSON)
    return Answer(
        answer.status,
        headers,
        orjson.dumps(answer.body, default=_json, option=orjson.OPT_PASSTHROUGH_DATETIME),
    )


def _json(value: object) -> str:
    if isinstance(value, datetime):
        return api_time(value)
    raise TypeError


def refusal_answer(refusal: Refusal) -> Answer:
    return rendered(describe_refusal(refusal), [])


PIECE = 64 * 1024  # bytes


async def send_answer(
    send: Send, answer: Answer, *, head: bool = False, seconds_a_piece: float | None = None
) -> None:
    """Send an answer. With `seconds_a_piece`, a reader that is slower raises TimeoutError."""
    headers = answer.headers
    if answer.status not in NO_BODY:
        length = len(answer.body) if answer.length is None else answer.length
        headers = [*headers, (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if head else answer.body
    while seconds_a_piece is not None and len(body) > PIECE:
        async with asyncio.timeout(seconds_a_piece):
            await send({"type": "http.response.body", "body": body[:PIECE], "more_body": True})
        body = body[PIECE:]
    await send({"type": "http.response.body", "body": body})
