"""An answer of the front, and the way it is sent."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import orjson

from ticketbook.errors import Refusal
from ticketbook.problems import describe_refusal
from ticketbook.wire import ApiAnswer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    status: int
    headers: Headers  # all but Content-Length
    body: bytes


def raw(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


JSON = (b"content-type", b"application/json")


def rendered(answer: ApiAnswer, common: Headers) -> Answer:
    """To the letter what the API's renderer makes of it; `common` are headers that each answer has."""
    headers = [*raw(answer.headers.items()), *common]
    if "Content-Type" not in answer.headers:
        headers.append(JSON)
    return Answer(answer.status, headers, orjson.dumps(answer.body, option=orjson.OPT_UTC_Z))


def refusal_answer(refusal: Refusal) -> Answer:
    return rendered(describe_refusal(refusal), [])


PIECE = 64 * 1024  # bytes


async def send_answer(
    send: Send, answer: Answer, *, head: bool = False, seconds_a_piece: float | None = None
) -> None:
    """Send it; with `seconds_a_piece` in pieces, and TimeoutError if its reader is slower."""
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if head else answer.body
    while seconds_a_piece is not None and len(body) > PIECE:
        async with asyncio.timeout(seconds_a_piece):
            await send({"type": "http.response.body", "body": body[:PIECE], "more_body": True})
        body = body[PIECE:]
    await send({"type": "http.response.body", "body": body})
