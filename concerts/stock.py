"""The one module that writes a tier's stock: `available_quantity`, and `total_quantity` with it.

Every function but `stock_up` needs an open transaction, and the counters move from what the database
has, never from what we read: even if a caller forgot the lock, the CHECKs of the table would see the
true numbers.
"""

from datetime import datetime
from functools import cache
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import F

from concerts.models import TicketTier
from ticketbook.database import rows_of, send
from ticketbook.errors import NotFound, Refusal
from ticketbook.fresh import forget


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
    for tier in rows_of(TicketTier, send(lock_sql(), [tier_id])):
        return tier
    raise NotFound


@cache
def lock_sql() -> str:
    """select_for_update() in SQL, written by the ORM once: that takes longer than to lock."""
    sql, _ = TicketTier.objects.locked().filter(pk=UUID(int=0)).query.sql_with_params()
    return sql


def take(tier: TicketTier, quantity: int, *, now: datetime) -> None:
    """Move tickets out of stock. The database refuses what is not there (tier_available_not_negative)."""
    _move(tier.pk, -quantity, now)


def give_back(tier: TicketTier, quantity: int, *, now: datetime) -> None:
    """Move tickets back to stock. The caller has made sure that they come back once."""
    _move(tier.pk, quantity, now)


MOVE = """
UPDATE concerts_tickettier
SET available_quantity = available_quantity + %s, updated_at = %s
WHERE id = %s
"""


def _move(tier_id: UUID, quantity: int, now: datetime) -> None:
    send(MOVE, [quantity, now, tier_id])


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
    tier.refresh_from_db()
    return tier
