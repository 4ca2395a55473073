"""The body of a request: all of it or none, within bounds of size, of time, and of all bodies together."""

import asyncio

from ticketbook.errors import Busy, TooLarge
from ticketbook.front.answers import Receive

MAX_BODY = 3 * 1024 * 1024  # bytes; Django refuses forms above 2.5 MiB by itself
MAX_DISCARDED = 16 * 1024 * 1024  # bytes; a client that sends more loses the connection
MAX_TOGETHER = 64 * 1024 * 1024  # bytes of bodies that are still coming in
SECONDS = 20.0  # a slower client is cut off


class ClientGone(Exception):
    """The client hung up, or was too slow, before its body was here."""


_together = 0


async def read_body(receive: Receive) -> bytes:
    """Raises TooLarge when the client has sent all of a large body, and so can see our answer; Busy when
    too many bodies are on their way; ClientGone."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    if not message.get("more_body"):  # the usual case: it came in one piece
        body: bytes = message.get("body", b"")
        return body if len(body) <= MAX_BODY else _too_large()
    try:
        async with asyncio.timeout(SECONDS):
            return await _read_rest(receive, message.get("body", b""))
    except TimeoutError:
        raise ClientGone from None


async def _read_rest(receive: Receive, first: bytes) -> bytes:
    global _together
    chunks, size, more = [first], len(first), True
    _together += size
    counted = size
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > MAX_DISCARDED:
                raise ClientGone
            if size > MAX_BODY:
                chunks.clear()
                continue
            _together += len(chunk)
            counted += len(chunk)
            if _together > MAX_TOGETHER:
                raise Busy
            chunks.append(chunk)
    finally:
        _together -= counted
    return b"".join(chunks) if size <= MAX_BODY else _too_large()


def _too_large() -> bytes:
    raise TooLarge
