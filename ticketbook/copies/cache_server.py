"""The cache server that processes share, if CACHE_URL names one.

It may be dead, slow or return garbage, and the site still answers. So nothing here raises. A server that
failed is left alone for a second, because otherwise every request would wait for its time limit.
"""

import json
import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from django.conf import settings
from django.core.cache import cache

REST = 1.0  # seconds without a question after a failure

logger = logging.getLogger(__name__)
_rests_until = 0.0
_failed = False


class PlainValues:
    """Stores bytes as they are and everything else as JSON. Anything else on the server reads as None.

    There are no pickles: somebody who can write to the cache server must not be able to run code here.
    """

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
    return _ask(lambda: cache.get_many(keys)) or {}


def write(key: str, value: object, *, seconds: int) -> None:
    _ask(lambda: cache.set(key, value, seconds))


def claim(key: str, *, seconds: int) -> bool:
    """Whether this process now owns the key. It does if there is no server to ask."""
    return _ask(lambda: cache.add(key, 1, seconds)) is not False


def release(key: str) -> None:
    _ask(lambda: cache.delete(key))


def _ask(question: Callable[[], Any]) -> Any:
    # The server's answer, or None if there is no server or it does not answer.
    if not settings.CACHE_URL or monotonic() < _rests_until:
        return None
    try:
        answer = question()
    except (
        Exception
    ) as exc:  # errors of the client library, and whatever garbage does to its parser
        _note_failure(exc)
        return None
    _note_success()
    return answer


def _note_failure(exc: Exception) -> None:
    global _failed, _rests_until
    _rests_until = monotonic() + REST
    if not _failed:
        _failed = True
        # Without the message, which may quote the address with its password.
        logger.warning("The cache server fails (%s): working without it.", type(exc).__name__)


def _note_success() -> None:
    global _failed
    if _failed:
        _failed = False
        logger.warning("The cache server answers again.")
