"""Limits like those of throttle.py, counted in the memory of this process.

For what comes so often that a statement for each would slow a sale down. Each process counts for itself, so
all of them together let so many times more through.
"""

from functools import lru_cache
from threading import Lock
from time import monotonic

from django.http import HttpRequest

from accounts.throttle import Counted, of_address
from ticketbook.client_address import client_address
from ticketbook.errors import Throttled

MOST = 20_000  # keys; beyond that, those are dropped that would be forgotten first

_lock = Lock()
_forgotten_at: dict[str, float] = {}  # when all attempts of a key are forgotten, by time.monotonic


# The digests and networks of an address take longer than all the rest.
_limits = lru_cache(10_000)(of_address)


def by_address(what: str, per_minute: int, request: HttpRequest) -> list[Counted]:
    """As throttle.by_address."""
    address = client_address(request) if per_minute else None
    return _limits(what, per_minute, address) if address else []


def count(*attempt: Counted) -> None:
    """Count one attempt in all of these counts, or in none of them. Raises Throttled.

    Of each, only `limit` and `forget` count: beyond the limit one attempt may pass every `forget` seconds.
    """
    now = monotonic()
    with _lock:
        later = {
            each.key: max(_forgotten_at.get(each.key, now), now) + each.forget for each in attempt
        }
        waits = [later[each.key] - now - each.limit * each.forget for each in attempt]
        if max(waits, default=0) > 1e-6:
            raise Throttled(max(waits))
        _forgotten_at.update(later)
        if len(_forgotten_at) > MOST:
            _drop_half()


def take_back(*counted: Counted) -> None:
    """An attempt does not count, because it turned out well."""
    with _lock:
        for each in counted:
            if each.key in _forgotten_at:
                _forgotten_at[each.key] -= each.forget


def forget() -> None:
    with _lock:
        _forgotten_at.clear()


def _drop_half() -> None:
    first = sorted(_forgotten_at, key=_forgotten_at.__getitem__)[: len(_forgotten_at) // 2]
    for key in first:
        del _forgotten_at[key]
