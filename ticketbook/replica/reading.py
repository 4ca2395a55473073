"""Pages that may be a little behind are read from the replica that REPLICA_URL names.

    return read(request, lambda: the_page(request))

They are read there if the request is a GET, and the replica is known to lag less than REPLICA_MAX_LAG.
Otherwise, or if the replica fails in the middle, they are read from the primary, within the same request. So
the function may be called twice, and must not change anything. Within it the router
(ticketbook/replica/router.py) sends queries to the replica and refuses to write. Nothing else can reach it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeVar, cast

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from django.http import HttpRequest, HttpResponse
from psycopg import errors as pg
from rest_framework.request import Request

from ticketbook.replica.base import PATIENCE, DatabaseWrapper, Unfit
from ticketbook.replica.lag import marks
from ticketbook.replica.rest import rest

ALIAS = "replica"
# A browser that has it is shown the state of the primary, because it has just changed something.
COOKIE = "fresh"

Read = TypeVar("Read")

_reading: ContextVar[bool] = ContextVar("reading", default=False)


def read(
    request: HttpRequest | Request, make: Callable[[], Read], *, patience: float = PATIENCE
) -> Read:
    """What `make` returns or raises, when it reads from the replica, or else from the primary.

    No statement to the replica may take longer than `patience` (seconds).
    """
    began = monotonic()
    replica = _fit_for(request, began)
    if replica is None:
        return make()
    try:
        with replica.open(patience), _marked_as_reading():
            made = make()
    except (DatabaseError, InterfaceError) as exc:
        # Otherwise it comes from the primary, which will raise it again.
        if replica.errors_occurred:
            _note(replica, exc, began)
        return make()
    rest.well()
    return made


def is_reading() -> bool:
    return _reading.get()


@contextmanager
def _marked_as_reading() -> Iterator[None]:
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def _fit_for(request: HttpRequest | Request, now: float) -> DatabaseWrapper | None:
    """The replica, if this request may be read from it."""
    if not settings.REPLICA_URL or is_reading() or request.method not in {"GET", "HEAD"}:
        return None
    # What is in a transaction may decide something.
    if COOKIE in request.COOKIES or connection.in_atomic_block or not rest.may_try():
        return None
    replica = cast(DatabaseWrapper, connections[ALIAS])
    try:
        covers = replica.covers(now)
    except (DatabaseError, InterfaceError) as exc:
        _note(replica, exc, now)
        return None
    if covers >= marks.needed(now):
        return replica
    if replica.is_late(now):
        longest = f"{settings.REPLICA_MAX_LAG:g} seconds"
        rest.say(f"The replica is behind by more than {longest}. Reading from the primary.")
    return None


def _note(replica: DatabaseWrapper, exc: Exception, began: float) -> None:
    if isinstance(exc.__cause__, pg.SerializationFailure | pg.DeadlockDetected):
        return  # what was read here was about to change: it happens to any replica that is well
    replica.close()
    sentence = str(exc) if isinstance(exc, Unfit) else f"The replica fails ({_name(exc)})."
    rest.failed(sentence, began=began)


def _name(exc: Exception) -> str:
    return type(exc.__cause__ or exc).__name__


def problem() -> str:
    """A sentence that says why the replica cannot be read; empty if it can, or if there is none."""
    if not settings.REPLICA_URL:
        return ""
    replica = cast(DatabaseWrapper, connections[ALIAS])
    try:
        replica.covers(monotonic())
    except Unfit as exc:
        return str(exc)
    except (DatabaseError, InterfaceError) as exc:
        return f"The server that REPLICA_URL names does not answer ({_name(exc)})."
    finally:
        replica.close()
    return ""


def show_fresh_to(response: HttpResponse) -> None:
    """This browser has changed something. Until every replica that is read has it, it reads the primary."""
    if settings.REPLICA_URL:
        seconds = math.ceil(settings.REPLICA_MAX_LAG) + 1
        options: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": settings.HTTPS}
        response.set_cookie(COOKIE, "1", max_age=seconds, **options)
