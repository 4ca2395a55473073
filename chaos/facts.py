"""What is true after quiet: the rows of a run's tiers, the gateway's ledger, and what the audit says.

Times are seconds on the history's clock.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from uuid import UUID


@dataclass(frozen=True)
class Tier:
    concert: str
    total: int
    kept_back: int
    available: int
    max_per_customer: int | None
    price: str


@dataclass(frozen=True)
class Concert:
    status: str


@dataclass(frozen=True)
class Booking:
    user: str
    tier: str
    quantity: int
    returned: int
    status: str
    payment_status: str
    failure_reason: str
    total: str
    refunded: str
    key: str
    gateway: str
    source: str
    called_off: bool
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class Refund:
    id: str
    booking: str
    amount: str
    tickets: int
    reason: str
    status: str


@dataclass(frozen=True)
class Return:
    id: str
    booking: str
    tickets: int
    key: str  # empty without one


@dataclass(frozen=True)
class Capture:
    """Money that the gateway took."""

    booking: str  # the key of the charge
    amount: str
    at: float


@dataclass(frozen=True)
class SentBack:
    """Money that the gateway sent back."""

    refund: str  # the key of the refund
    booking: str
    amount: str
    at: float


@dataclass(frozen=True)
class CapacityChange:
    """What staff have changed of a tier's stock, in order of time."""

    tier: str
    at: float
    field: str  # "total" or "kept_back"
    old: int
    new: int


@dataclass
class Facts:
    tiers: dict[str, Tier] = field(default_factory=dict)
    concerts: dict[str, Concert] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    refunds: list[Refund] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    sent_back: list[SentBack] = field(default_factory=list)
    capacity: list[CapacityChange] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)
    open_jobs: list[str] = field(
        default_factory=list
    )  # jobs that could run now, and what they are about

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Self:
        found: dict[str, Any] = json.loads(file.read_text())
        for name, kind in {"tiers": Tier, "concerts": Concert, "bookings": Booking}.items():
            found[name] = {pk: kind(**row) for pk, row in found[name].items()}
        for name, kind in LISTS.items():
            found[name] = [kind(**row) for row in found[name]]
        return cls(**found)


LISTS: dict[str, Any] = {
    "refunds": Refund,
    "returns": Return,
    "captures": Capture,
    "sent_back": SentBack,
    "capacity": CapacityChange,
}

# What concerts/stock.py writes into a tier's history.
CHANGED = re.compile(r"(Capacity|Kept back) (\d+) → (\d+):")


def gather(ledger: Path, tiers: Sequence[str], epoch: float) -> Facts:
    """The facts about these tiers. Django has been set up."""
    from django.db import connection, transaction

    with transaction.atomic(durable=True):
        # All of it as it was at one moment, because the worker may still be at work.
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _gather(ledger, tiers, epoch)


def _gather(ledger: Path, tiers: Sequence[str], epoch: float) -> Facts:
    from bookings import models
    from bookings.audit import audit
    from concerts.models import TicketTier

    facts, keys = Facts(), [UUID(tier) for tier in tiers]

    def seconds(moment: datetime) -> float:
        return round(moment.timestamp() - epoch, 6)

    for tier in TicketTier.objects.filter(pk__in=keys).select_related("concert"):
        facts.concerts[str(tier.concert_id)] = Concert(tier.concert.status)
        facts.tiers[str(tier.pk)] = Tier(
            concert=str(tier.concert_id),
            total=tier.total_quantity,
            kept_back=tier.kept_back,
            available=tier.available_quantity,
            max_per_customer=tier.max_per_customer,
            price=str(tier.price),
        )
    bookings = models.Booking.objects.filter(ticket_tier__in=keys).select_related("user")
    for row in bookings.order_by("pk"):
        facts.bookings[str(row.pk)] = Booking(
            user=row.user.email,
            tier=str(row.ticket_tier_id),
            quantity=row.quantity,
            returned=row.returned_quantity,
            status=row.status,
            payment_status=row.payment_status,
            failure_reason=row.failure_reason,
            total=str(row.total_price),
            refunded=str(row.refunded_total),
            key=str(row.idempotency_key),
            gateway=row.gateway,
            source=row.source,
            called_off=row.called_off,
            created_at=seconds(row.created_at),
            updated_at=seconds(row.updated_at),
        )
    for refund in models.Refund.objects.filter(booking__ticket_tier__in=keys).order_by("pk"):
        facts.refunds.append(
            Refund(
                id=str(refund.pk),
                booking=str(refund.booking_id),
                amount=str(refund.amount),
                tickets=refund.tickets,
                reason=refund.reason,
                status=refund.status,
            )
        )
    for made in models.Return.objects.filter(booking__ticket_tier__in=keys).order_by("pk"):
        key = str(made.idempotency_key or "")
        facts.returns.append(Return(str(made.pk), str(made.booking_id), made.tickets, key))
    facts.capacity = list(_capacity_changes(tiers, seconds))
    _read_ledger(facts, ledger, epoch)
    facts.open_jobs = _open_jobs({capture.booking for capture in facts.captures})
    facts.audit = audit()
    return facts


def _capacity_changes(tiers: Sequence[str], seconds: Any) -> Iterable[CapacityChange]:
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    from concerts.models import TicketTier

    kind = ContentType.objects.get_for_model(TicketTier)
    for entry in LogEntry.objects.filter(content_type=kind, object_id__in=tiers).order_by("id"):
        if match := CHANGED.match(entry.change_message):
            what, old, new = match.groups()
            name = "total" if what == "Capacity" else "kept_back"
            at = seconds(entry.action_time)
            yield CapacityChange(str(entry.object_id), at, name, int(old), int(new))


def _read_ledger(facts: Facts, ledger: Path, epoch: float) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        for key, amount, at in db.execute("SELECT key, amount, at FROM capture ORDER BY at"):
            facts.captures.append(Capture(key, amount, round(at - epoch, 6)))
        rows = db.execute("SELECT key, charge, amount, at FROM refund ORDER BY at")
        for key, charge, amount, at in rows:
            facts.sent_back.append(SentBack(key, charge, amount, round(at - epoch, 6)))


# Jobs that a worker could take now, or has taken. Periodic ones come again and again.
OPEN_JOBS = """
SELECT task_name, args, status, attempts FROM procrastinate_jobs
WHERE status IN ('todo', 'doing') AND NOT args ? 'timestamp'
"""
LATE = "bookings.tasks.look_for_late_payment"


def _open_jobs(captured: set[str]) -> list[str]:
    # The look for late money goes on for half a day. It is open as long as there is money to be found.
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(OPEN_JOBS)
        rows = cursor.fetchall()
    jobs = []
    for task, arguments, status, attempts in rows:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        if task != LATE or arguments.get("booking_id") in captured:
            jobs.append(f"{task} {arguments}, {status}, {attempts} attempts")
    return jobs


def unsettled(facts: Facts) -> list[str]:
    """What has still to come to rest, a sentence each; an empty list when it is quiet."""
    found = [
        f"Booking {pk} is PENDING." for pk, row in facts.bookings.items() if row.status == "PENDING"
    ]
    found += [f"Refund {row.id} is DUE." for row in facts.refunds if row.status == "DUE"]
    return found + [f"The job {job} is open." for job in facts.open_jobs]


def owed(facts: Facts) -> dict[str, Decimal]:
    """What the gateway has taken for each booking and not sent back."""
    kept: dict[str, Decimal] = {}
    for capture in facts.captures:
        kept[capture.booking] = kept.get(capture.booking, Decimal(0)) + Decimal(capture.amount)
    for sent in facts.sent_back:
        kept[sent.booking] = kept.get(sent.booking, Decimal(0)) - Decimal(sent.amount)
    return kept
