"""The cache that processes share, if CACHE_URL names one.

It may be dead, slow or talk nonsense: the site then works a little more and answers as ever. So
nothing here raises, and a server that failed is left alone for a while, or every request would pay
its time limit.
"""

import json
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.cache import cache

REST = 1.0  # seconds without a question after one that failed

logger = logging.getLogger(__name__)
_rests_until = 0.0
_failed = False


class PlainValues:
    """Bytes as they are, all else as JSON, and no pickles: who can write to the cache server must not
    be able to run code here. What is neither reads as None."""

    def dumps(self, value: object) -> bytes:
        return b"=" + value if isinstance(value, bytes) else json.dumps(value).encode()

    def loads(self, stored: bytes) -> Any:
        if stored.startswith(b"="):
            return stored[1:]
        try:
            return json.loads(stored)
        except (ValueError, RecursionError):
            return None


def read(*keys: str) -> dict[str, Any]:
    """Those of the keys that it has."""
    return _ask(lambda: cache.get_many(keys)) or {}


def write(key: str, value: object, *, seconds: int) -> None:
    _ask(lambda: cache.set(key, value, seconds))


def claim(key: str, *, seconds: int) -> bool:
    """Whether the key is ours and no other process's; it is, if there is nobody to ask."""
    return _ask(lambda: cache.add(key, 1, seconds)) is not False


def release(key: str) -> None:
    _ask(lambda: cache.delete(key))


def _ask(question: Callable[[], Any]) -> Any:
    """The server's answer; None if there is no server or none that answers."""
    if not settings.CACHE_URL or monotonic() < _rests_until:
        return None
    try:
        answer = question()
    except Exception as exc:  # the client's own errors, and whatever nonsense makes of its parser
        _note_failure(exc)
        return None
    _note_success()
    return answer


def _note_failure(exc: Exception) -> None:
    global _failed, _rests_until
    _rests_until = monotonic() + REST
    if not _failed:
        _failed = True
        # Not the message: a client may quote the address with its password.
        logger.warning("The cache server fails (%s): working without it.", type(exc).__name__)


def _note_success() -> None:
    global _failed
    if _failed:
        _failed = False
        logger.warning("The cache server answers again.")
