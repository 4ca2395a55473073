"""Reads the whole body of a request, with limits for its size, its time, and all bodies together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ticketbook.errors import Busy, TooLarge
from ticketbook.front.answers import Receive

MAX_BODY = 3 * 1024 * 1024  # bytes; Django refuses forms above 2.5 MiB by itself
MAX_DISCARDED = 16 * 1024 * 1024  # bytes; a client that sends more loses the connection
SMALL = 16 * 1024  # bytes; only larger bodies count towards MAX_TOGETHER
MAX_TOGETHER = 64 * 1024 * 1024  # bytes of all bodies that are being read or answered
SECONDS = 20.0  # a slower client is cut off


class ClientGone(Exception):
    """The client hung up, or was too slow, before its body had arrived."""


_together = 0


@asynccontextmanager
async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    """The body, which counts towards MAX_TOGETHER until the block ends.

    Raises Busy, ClientGone, and TooLarge once the client has sent everything and so can read our answer.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    first: bytes = message.get("body", b"")
    if not message.get("more_body") and len(first) <= SMALL:  # the usual case
        yield first
        return
    count = _Count()
    try:
        try:
            async with asyncio.timeout(SECONDS):
                body = await _read_all(receive, first, bool(message.get("more_body")), count)
        except TimeoutError:
            raise ClientGone from None
        yield body
    finally:
        count.add(-count.size)


class _Count:
    """How many bytes one body adds to all bodies."""

    size = 0

    def add(self, size: int) -> None:
        global _together
        self.size += size
        _together += size
        if size > 0 and _together > MAX_TOGETHER:
            raise Busy


async def _read_all(receive: Receive, first: bytes, more: bool, count: _Count) -> bytes:
    body, size = bytearray(first), len(first)
    count.add(size)
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > MAX_DISCARDED:
            raise ClientGone
        if size <= MAX_BODY:
            body += chunk
            count.add(len(chunk))
    if size > MAX_BODY:
        raise TooLarge
    return bytes(body)
