"""Reads the whole body of a request, with limits for its size, its time, and all bodies together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.conf import settings

from ticketbook.api import strict
from ticketbook.api.paths import is_api
from ticketbook.errors import Busy, TooLarge
from ticketbook.front.answers import Receive, Scope

SMALL = 16 * 1024  # bytes; only larger bodies count towards MAX_TOGETHER
MAX_TOGETHER = 64 * 1024 * 1024  # bytes of all bodies that are being read or answered
SECONDS = 20.0  # a slower client is cut off


class ClientGone(Exception):
    """The client hung up, or was too slow, before its body had arrived."""


_together = 0


def largest_body(path: str) -> int:
    """In bytes."""
    return strict.MAX_BODY if is_api(path) else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


@asynccontextmanager
async def body_of(scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
    """The body, which counts towards MAX_TOGETHER until the block ends.

    Raises Busy and ClientGone, and TooLarge as soon as it is clear: by Content-Length before anything is
    read, otherwise when too much has come. The rest is left unread then, so close the connection.
    """
    largest = largest_body(scope["path"])
    if _told_length(scope) > largest:
        raise TooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    first: bytes = message.get("body", b"")
    if not message.get("more_body") and len(first) <= SMALL:  # the usual case
        yield first
        return
    count = _Count(largest)
    try:
        try:
            async with asyncio.timeout(SECONDS):
                body = await _read_all(receive, first, bool(message.get("more_body")), count)
        except TimeoutError:
            raise ClientGone from None
        yield body
    finally:
        count.add(-count.size)


def _told_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


class _Count:
    """How many bytes one body has, and adds to all bodies."""

    def __init__(self, largest: int) -> None:
        self.size, self.largest = 0, largest

    def add(self, size: int) -> None:
        global _together
        self.size += size
        _together += size
        if self.size > self.largest:
            raise TooLarge
        if size > 0 and _together > MAX_TOGETHER:
            raise Busy


async def _read_all(receive: Receive, first: bytes, more: bool, count: _Count) -> bytes:
    body = bytearray(first)
    count.add(len(first))
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        count.add(len(chunk))
        body += chunk
    return bytes(body)
