"""The one module that changes a tier's counters, but for the demo's bulk load.

The counters are `total_quantity`, `kept_back` and `available_quantity`. What is neither kept back nor
available is sold or held.

Every change but `stock_up` is one statement that adds to what the database has, inside an open
transaction. So if a caller ever forgets the lock, the table's CHECKs still see the true numbers.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from concerts.models import Concert, TicketTier
from ticketbook.copies import store
from ticketbook.errors import NotFound, Refusal
from ticketbook.postgres.statements import execute_prepared, rows_of


class CapacityBelowSold(Refusal):
    """More tickets than that are sold, held or kept back already."""

    code = "capacity_below_sold"
    status = 409

    def __init__(self, *, free: int, **facts: object) -> None:
        super().__init__(**facts)
        self.args = (f"{self.__doc__} {_so_many_are(free, 'free')}",)


class TooManyTickets(Refusal):
    """A tier cannot have that many tickets. Add fewer."""


class NotEnoughFree(Refusal):
    """That many tickets are not free."""

    code = "insufficient_tickets"
    status = 409

    def __init__(self, *, available: int, **facts: object) -> None:
        super().__init__(available=available, **facts)
        self.args = (f"{self.__doc__} {_so_many_are(available, 'free')}",)


class NotSoManyKeptBack(Refusal):
    """That many tickets are not kept back."""

    code = "insufficient_tickets"
    status = 409

    def __init__(self, *, kept_back: int) -> None:
        super().__init__(keptBack=kept_back)
        self.args = (f"{self.__doc__} {_so_many_are(kept_back, 'kept back')}",)


def _so_many_are(tickets: int, what: str) -> str:
    if not tickets:
        return f"None are {what} now."
    return f"Only {tickets:,} {'is' if tickets == 1 else 'are'} {what} now."


LARGEST = 2**31 - 1  # that the column of a counter takes


def stock_up(tier: TicketTier) -> None:
    """Make the whole capacity of a tier available. Only for a tier that is not saved yet."""
    assert tier._state.adding
    tier.available_quantity = tier.total_quantity


def lock_tier(tier_id: UUID) -> TicketTier:
    """The tier, locked until the transaction ends.

    Its concert is not joined, because a join would show it as it was before the wait for the lock.
    Raises NotFound, and OperationalError (LockNotAvailable) after LOCK_TIMEOUT_MS.
    """
    for tier in rows_of(TicketTier, execute_prepared(lock_sql(), [tier_id])):
        return tier
    raise NotFound


@cache
def lock_sql() -> str:
    # select_for_update(), written by the ORM once: building the query takes longer than the lock does.
    sql, _ = TicketTier.objects.locked().filter(pk=UUID(int=0)).query.sql_with_params()
    return sql


def moving(*, available: str, total: str = "0", kept: str = "0") -> str:
    """SQL that adds to the counters of the tier `%(tier)s`, at the time `%(now)s`.

    The arguments are SQL expressions for numbers of tickets; negative ones take tickets out. A counter
    that would leave its range raises IntegrityError (tier_available_not_negative,
    tier_available_within_total, tier_kept_not_negative).
    """
    return f"""
        UPDATE concerts_tickettier
        SET available_quantity = available_quantity + ({available}),
            total_quantity = total_quantity + ({total}),
            kept_back = kept_back + ({kept}), updated_at = %(now)s
        WHERE id = %(tier)s
    """


_MOVE = moving(available="%(available)s", total="%(total)s", kept="%(kept)s")


def _move(
    tier: TicketTier, *, available: int, total: int = 0, kept: int = 0, now: datetime
) -> None:
    moved = {"available": available, "total": total, "kept": kept, "now": now, "tier": tier.pk}
    execute_prepared(_MOVE, moved)


def take(tier: TicketTier, tickets: int, *, now: datetime) -> None:
    # For demo and tests. A sale moves the stock within its own statement, which uses `moving` too.
    _move(tier, available=-tickets, now=now)


def give_back(tier: TicketTier, tickets: int, *, now: datetime) -> None:
    """Put tickets back into stock. The caller makes sure that the same tickets come back only once."""
    _move(tier, available=tickets, now=now)
    transaction.on_commit(lambda: forget_snapshot(tier.pk))


class CapacityChange(NamedTuple):
    old: int  # the number before
    tier: TicketTier


def change_capacity(
    *, tier_id: UUID, total: int, by: AbstractBaseUser, reason: str, now: datetime
) -> CapacityChange:
    """Set a tier's capacity. What is available changes by as many tickets.

    The tier's history in the admin says who did it and why. Raises NotFound, and CapacityBelowSold
    (`sold`: how many tickets are sold, held or kept back), which changes nothing.
    """
    with transaction.atomic():
        tier = lock_tier(tier_id)
        old = tier.total_quantity
        _set_capacity(tier, total, by=by, reason=reason, now=now)
    tier.refresh_from_db()
    return CapacityChange(old, tier)


def add_tickets(
    *, tier_id: UUID, tickets: int, by: AbstractBaseUser, reason: str, now: datetime
) -> CapacityChange:
    """Add tickets to a tier, or remove free ones: then `tickets` is negative.

    Otherwise as `change_capacity`. Raises TooManyTickets (`total`) too, which changes nothing.
    """
    with transaction.atomic():
        tier = lock_tier(tier_id)
        old = tier.total_quantity
        if old + tickets > LARGEST:
            raise TooManyTickets(total=old)
        _set_capacity(tier, old + tickets, by=by, reason=reason, now=now)
    tier.refresh_from_db()
    return CapacityChange(old, tier)


def _set_capacity(
    tier: TicketTier, total: int, *, by: AbstractBaseUser, reason: str, now: datetime
) -> None:
    old, out = tier.total_quantity, tier.total_quantity - tier.available_quantity
    if total < out:
        raise CapacityBelowSold(sold=out, free=tier.available_quantity)
    _move(tier, available=total - old, total=total - old, now=now)
    _changed(tier, f"Capacity {old} → {total}: {reason}", by)


def keep_back(
    *, tier_id: UUID, tickets: int, by: AbstractBaseUser, reason: str, now: datetime
) -> CapacityChange:
    """Set how many tickets of a tier are kept back. What is available changes by as many tickets.

    Returns the old number and the tier. The tier's history in the admin says who did it and why. Raises
    NotFound, and NotEnoughFree (`available`, `keptBack`), which changes nothing.
    """
    with transaction.atomic():
        tier = lock_tier(tier_id)
        old = tier.kept_back
        _set_kept_back(tier, tickets, by=by, reason=reason, now=now)
    tier.refresh_from_db()
    return CapacityChange(old, tier)


def keep_more_back(
    *, tier_id: UUID, tickets: int, by: AbstractBaseUser, reason: str, now: datetime
) -> CapacityChange:
    """Keep so many more tickets back, or put some on sale again: then `tickets` is negative.

    Two people who do it at once both get theirs. Otherwise as `keep_back`. Raises NotSoManyKeptBack
    (`keptBack`) too, which changes nothing.
    """
    with transaction.atomic():
        tier = lock_tier(tier_id)
        old = tier.kept_back
        if old + tickets < 0:
            raise NotSoManyKeptBack(kept_back=old)
        _set_kept_back(tier, old + tickets, by=by, reason=reason, now=now)
    tier.refresh_from_db()
    return CapacityChange(old, tier)


def _set_kept_back(
    tier: TicketTier, tickets: int, *, by: AbstractBaseUser, reason: str, now: datetime
) -> None:
    old = tier.kept_back
    if tickets - old > tier.available_quantity:
        raise NotEnoughFree(available=tier.available_quantity, keptBack=old)
    _move(tier, available=old - tickets, kept=tickets - old, now=now)
    _changed(tier, f"Kept back {old} → {tickets}: {reason}", by)


def _changed(tier: TicketTier, message: str, by: AbstractBaseUser) -> None:
    LogEntry.objects.log_actions(by.pk, [tier], CHANGE, message, single_object=True)
    transaction.on_commit(store.forget)
    transaction.on_commit(lambda: forget_snapshot(tier.pk))


# --- Snapshots of tiers that sell nothing -------------------------------------------------------
#
# When a tier has sold out, thousands are refused. For a moment they are refused by what the last lock
# holder saw, and need not wait for the lock.

SNAPSHOT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tier and its concert as they stood when the tier was locked."""

    tier: TicketTier
    concert: Concert
    until: float  # monotonic


_snapshots: dict[UUID, Snapshot] = {}


def remember_snapshot(tier: TicketTier, concert: Concert) -> None:
    # Called while the tier is locked. A give-back of this process needs the lock too, so it comes later
    # and drops this snapshot.
    if len(_snapshots) >= 1000:
        _snapshots.clear()
    _snapshots[tier.pk] = Snapshot(tier, concert, monotonic() + SNAPSHOT_SECONDS)


def recent_snapshot(tier_id: UUID) -> Snapshot | None:
    """Good for refusals only: another process may have given tickets back since."""
    snapshot = _snapshots.get(tier_id)
    return snapshot if snapshot is not None and monotonic() < snapshot.until else None


def forget_snapshot(tier_id: UUID) -> None:
    _snapshots.pop(tier_id, None)


def forget_snapshots() -> None:
    _snapshots.clear()
