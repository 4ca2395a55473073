"""The database's clock. Every time that is stored, or compared with a stored time, comes from it.

The clocks of our machines may differ. If each process went by its own, one would sell before the others, or
take a hold for overdue that is not. So Python's clock is not asked. A process learns the database's time with
each new connection and each sale (`measured`), and counts on from there with its monotonic clock, which
nobody sets. So `now` costs no statement. It is behind the database by one round trip at most. It is ahead by
no more than the two clocks have drifted apart since the last measurement.
"""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db import connection, models

NOW = "clock_timestamp()"  # SQL, for statements whose time of execution is given to `measured`

_zero: datetime | None = None  # the database's time when this process' monotonic clock stood at 0


def now() -> datetime:
    """The database's time, without a statement."""
    return zero() + timedelta(seconds=monotonic())


def zero() -> datetime:
    """The database's time when this process' monotonic clock stood at 0. It moves by what is learned."""
    if _zero is None:
        ask()
    assert _zero is not None
    return _zero


def ask() -> datetime:
    """The database's time, by a statement. For jobs, commands and whatever else is not hot."""
    sent = monotonic()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NOW}")
        ((at,),) = cursor.fetchall()
    measured(at, sent=sent)
    return _in_utc(at)


def measured(at: datetime, *, sent: float) -> None:
    """Learn from a statement that was sent at `sent` (monotonic), and whose time NOW was `at`.

    Its result has just been received.
    """
    global _zero
    earliest = _in_utc(at) - timedelta(seconds=monotonic())
    latest = _in_utc(at) - timedelta(seconds=sent)
    # What the statement does not disprove stays, so that a slow answer does not turn the clock back.
    if _zero is None or not earliest <= _zero <= latest:
        _zero = earliest


def measure(psycopg_connection: Any) -> None:
    """Learn from a new connection."""
    sent = monotonic()
    ((at,),) = psycopg_connection.execute(f"SELECT {NOW}", prepare=False).fetchall()
    measured(at, sent=sent)


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


class ChangedAtField(models.DateTimeField):  # type: ignore[type-arg]
    """The time of the last save. Django's `auto_now` would store it by the clock of this machine."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"auto_now": True})

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, options

    def pre_save(self, model_instance: models.Model, add: bool) -> datetime:
        at = now()
        setattr(model_instance, self.attname, at)
        return at
