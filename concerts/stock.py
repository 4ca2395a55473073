"""The one module that writes a tier's stock: `available_quantity`, and `total_quantity` with it.

Every function but `stock_up` needs an open transaction, and the counters move from what the database
has, never from what we read: even if a caller forgot the lock, the CHECKs of the table would see the
true numbers.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from time import monotonic
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import F

from concerts.models import Concert, TicketTier
from ticketbook.copies.store import forget
from ticketbook.errors import NotFound, Refusal
from ticketbook.postgres.statements import execute_prepared, rows_of


class CapacityBelowSold(Refusal):
    """More tickets than that are sold or held already. Choose a larger capacity."""

    code = "capacity_below_sold"
    status = 409


def stock_up(tier: TicketTier) -> None:
    """Give a tier that is not saved yet its whole capacity to sell."""
    assert tier._state.adding
    tier.available_quantity = tier.total_quantity


def lock_tier(tier_id: UUID) -> TicketTier:
    """The tier, locked until the transaction ends.

    Its concert is read when it is asked for, and so after the wait for the lock; a join would show
    it as it was before. Raises NotFound, and OperationalError (LockNotAvailable) after
    LOCK_TIMEOUT_MS.
    """
    for tier in rows_of(TicketTier, execute_prepared(lock_sql(), [tier_id])):
        return tier
    raise NotFound


@cache
def lock_sql() -> str:
    """select_for_update() in SQL, written by the ORM once: that takes longer than to lock."""
    sql, _ = TicketTier.objects.locked().filter(pk=UUID(int=0)).query.sql_with_params()
    return sql


def moving(tickets: str) -> str:
    """SQL that moves as many tickets into stock as the expression `tickets` says; less than none take
    some out. Its parameters are `now` and `tier`.

    The database refuses what is not there (tier_available_not_negative).
    """
    return f"""
        UPDATE concerts_tickettier
        SET available_quantity = available_quantity + ({tickets}), updated_at = %(now)s
        WHERE id = %(tier)s
    """


MOVE = moving("%(tickets)s")


def take(tier: TicketTier, tickets: int, *, now: datetime) -> None:
    """Move tickets out of stock."""
    execute_prepared(MOVE, {"tickets": -tickets, "now": now, "tier": tier.pk})


def give_back(tier: TicketTier, tickets: int, *, now: datetime) -> None:
    """Move tickets back to stock. The caller has made sure that they come back once."""
    execute_prepared(MOVE, {"tickets": tickets, "now": now, "tier": tier.pk})
    transaction.on_commit(lambda: forget_sight(tier.pk))


# --- What was seen a moment ago -----------------------------------------------------------------

SIGHT_LASTS = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Sight:
    """A tier and its concert as they stood when the tier was locked."""

    tier: TicketTier
    concert: Concert
    until: float  # monotonic


_sights: dict[UUID, Sight] = {}


def remember_sight(tier: TicketTier, concert: Concert) -> None:
    """The caller has the tier locked. So a give-back of this process, which needs the lock too, comes
    later and ends what is remembered here."""
    if len(_sights) >= 1000:
        _sights.clear()
    _sights[tier.pk] = Sight(tier, concert, monotonic() + SIGHT_LASTS)


def recent_sight(tier_id: UUID) -> Sight | None:
    """For refusals only: another process may have given tickets back since."""
    sight = _sights.get(tier_id)
    return sight if sight is not None and monotonic() < sight.until else None


def forget_sight(tier_id: UUID) -> None:
    """Tickets have come back."""
    _sights.pop(tier_id, None)


def forget_sights() -> None:
    """Staff have changed a concert or a tier."""
    _sights.clear()


def change_capacity(
    *, tier_id: UUID, total: int, by: AbstractBaseUser, reason: str, now: datetime
) -> TicketTier:
    """Set a tier's capacity, and move what is available by as much.

    It is written to the tier's history in the admin, with who and why. Raises CapacityBelowSold
    (`sold`: how many tickets are out of stock) and changes nothing then.
    """
    with transaction.atomic():
        tier = lock_tier(tier_id)
        old, sold = tier.total_quantity, tier.total_quantity - tier.available_quantity
        if total < sold:
            raise CapacityBelowSold(sold=sold)
        TicketTier.objects.filter(pk=tier_id).update(
            total_quantity=F("total_quantity") + (total - old),
            available_quantity=F("available_quantity") + (total - old),
            updated_at=now,
        )
        LogEntry.objects.log_actions(
            by.pk, [tier], CHANGE, f"Capacity {old} → {total}: {reason}", single_object=True
        )
        transaction.on_commit(forget)
        transaction.on_commit(lambda: forget_sight(tier_id))
    tier.refresh_from_db()
    return tier
