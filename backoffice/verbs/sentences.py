"""What staff are told of a verb that failed."""

from django.db import OperationalError

from ticketbook.errors import Refusal
from ticketbook.postgres.failures import is_broken, is_busy, is_lock_timeout

BUSY = "Somebody else is changing this at the moment, so nothing was done. Try again."
LOST = (
    "The database was lost meanwhile, and what you asked for may have been done. Look at it before you try "
    "again."
)


def sentence_of(exc: Refusal | OperationalError) -> str:
    """A sentence about what a verb has raised. Raises it again if it is a fault of ours."""
    if isinstance(exc, Refusal):
        return str(exc)
    if is_broken(exc) or not is_busy(exc):
        raise exc
    return LOST if may_be_done(exc) else BUSY


def may_be_done(exc: Exception) -> bool:
    return isinstance(exc, OperationalError) and not is_lock_timeout(exc)
