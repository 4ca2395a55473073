"""Reads the facts of a run: from the database, from the ledgers of the gateways, and from the audit."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from chaos.facts import (
    Booking,
    CapacityChange,
    Capture,
    Concert,
    Facts,
    Letter,
    Mail,
    Move,
    Payment,
    Press,
    Refund,
    Return,
    SentBack,
    Ticket,
    Tier,
)
from chaos.letters import arrived
from chaos.stage import ACCOUNTS

Seconds = Callable[[datetime], float]  # a moment on the history's clock


@dataclass(frozen=True)
class Ledgers:
    """The files in which the gateways write down what they did. One that does not exist is empty."""

    main: Path
    page: Path

    @property
    def mails(self) -> Path:
        """The folder into which the site puts its mails (chaos/letters.py)."""
        return self.main.parent / "mail"


# What concerts/stock.py writes into a tier's history.
CHANGED = re.compile(r"(Capacity|Kept back) (\d+) → (\d+):")
# What staff type as their reason (chaos/desk.py).
PRESSED = re.compile(r"press ([0-9a-f-]{36})")


def gather(ledgers: Ledgers, tiers: Sequence[str], epoch: float) -> Facts:
    """The facts about these tiers. Django has been set up."""
    from django.db import connection, transaction

    with transaction.atomic(durable=True):
        # All of it as it was at one moment, because the worker may still be at work.
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # To read thousands of letters takes a while.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        return _gather(ledgers, tiers, epoch)


def _gather(ledgers: Ledgers, tiers: Sequence[str], epoch: float) -> Facts:
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
    _read_rows(facts, keys, seconds)
    facts.capacity = list(_capacity_changes(tiers, seconds))
    facts.presses = list(_presses([*tiers, *facts.concerts, *facts.bookings]))
    facts.moves = list(_moves(facts.concerts))
    _read_ledger(facts, ledgers.main, epoch)
    if ledgers.page.exists():
        _read_page_ledger(facts, ledgers.page, epoch)
    _read_papers(facts, keys)
    letters = [Letter(mail, round(at - epoch, 6)) for mail, at in arrived(ledgers.mails)]
    facts.letters = sorted(letters, key=lambda letter: letter.at)
    facts.open_jobs = list(_open_jobs(_may_be_late(facts)))
    facts.audit = audit()
    return facts


def _read_rows(facts: Facts, keys: list[UUID], seconds: Seconds) -> None:
    from bookings import models

    bookings = models.Booking.objects.filter(ticket_tier__in=keys).select_related("user")
    # Of bookings that belong to another customer than the one who has made them.
    slips = models.GuestSlip.objects.filter(booking__ticket_tier__in=keys)
    first = {slip.booking_id: slip for slip in slips}
    used = {(slip.address, slip.idempotency_key): slip.booking_id for slip in slips}
    for row in bookings.order_by("pk"):
        slip, address = first.get(row.pk), row.user.email
        if used.get((address, row.idempotency_key), row.pk) != row.pk:
            facts.stand_ins.append(str(row.pk))
            continue
        handed = slip is not None and slip.address != address
        facts.bookings[str(row.pk)] = Booking(
            user=slip.address if slip else address,
            tier=str(row.ticket_tier_id),
            quantity=row.quantity,
            returned=row.returned_quantity,
            status=row.status,
            payment_status=row.payment_status,
            failure_reason=row.failure_reason,
            total=str(row.total_price),
            refunded=str(row.refunded_total),
            key=str(slip.idempotency_key if slip else row.idempotency_key),
            gateway=row.gateway,
            source=row.source,
            called_off=row.called_off,
            created_at=seconds(row.created_at),
            updated_at=seconds(row.updated_at),
            guest=_was_a_guests(slip) if slip else row.user.is_guest,
            kept=slip is not None and _was_a_guests(slip),
            handed_to=address if handed else "",
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


def _was_a_guests(slip: Any) -> bool:
    # The slip of an account has its name.
    return not slip.name.startswith(ACCOUNTS)


def _capacity_changes(tiers: Sequence[str], seconds: Seconds) -> Iterable[CapacityChange]:
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    from concerts.models import TicketTier

    kind = ContentType.objects.get_for_model(TicketTier)
    for entry in LogEntry.objects.filter(content_type=kind, object_id__in=tiers).order_by("id"):
        if match := CHANGED.match(entry.change_message):
            what, old, new = match.groups()
            name = "total" if what == "Capacity" else "kept_back"
            at = seconds(entry.action_time)
            pressed = PRESSED.search(entry.change_message)
            press = pressed[1] if pressed else ""
            yield CapacityChange(str(entry.object_id), at, name, int(old), int(new), press)


def _presses(rows: Iterable[str]) -> Iterable[Press]:
    from django.contrib.admin.models import LogEntry

    found = LogEntry.objects.filter(object_id__in=rows, change_message__contains="press ")
    for entry in found.order_by("id"):
        if match := PRESSED.search(entry.change_message):
            yield Press(match[1], str(entry.object_id))


def _moves(concerts: Iterable[str]) -> Iterable[Move]:
    from concerts import models

    for move in models.Move.objects.filter(concert__in=map(UUID, concerts)).order_by("pk"):
        yield Move(str(move.concert_id))


def _read_ledger(facts: Facts, ledger: Path, epoch: float) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        for key, amount, at in db.execute("SELECT key, amount, at FROM capture ORDER BY at"):
            facts.captures.append(Capture(key, amount, round(at - epoch, 6)))
        rows = db.execute("SELECT key, charge, amount, at FROM refund ORDER BY at")
        for key, charge, amount, at in rows:
            facts.sent_back.append(SentBack(key, charge, amount, round(at - epoch, 6)))


# When a payment was closed: the moment of its first event. A slow bank may take the money after that.
PAYMENTS = """
SELECT key, CASE WHEN capture_at IS NULL THEN state ELSE 'capturing' END, cents,
    (SELECT min(created_at) FROM event WHERE payment = key)
FROM payment
"""
PAGE_CAPTURES = """
SELECT payment, cents, (SELECT max(created_at) FROM event WHERE event.payment = capture.payment)
FROM capture
"""


def _read_page_ledger(facts: Facts, ledger: Path, epoch: float) -> None:
    def at(moment: float | None) -> float | None:
        return None if moment is None else round(moment - epoch, 6)

    with closing(sqlite3.connect(ledger)) as db:
        for key, state, cents, closed in db.execute(PAYMENTS):
            facts.payments.append(Payment(key, state, _amount(cents or 0), at(closed)))
        for key, cents, taken in db.execute(PAGE_CAPTURES):
            facts.captures.append(Capture(key, _amount(cents), at(taken) or 0.0))
        for key, payment, cents in db.execute("SELECT key, payment, cents FROM refund"):
            facts.sent_back.append(SentBack(key, payment, _amount(cents), 0.0))


def _amount(cents: int) -> str:
    return str(Decimal(cents) / 100)


def _may_be_late(facts: Facts) -> set[str]:
    # Failed bookings whose money has been taken, or can still be.
    failed = {pk for pk, row in facts.bookings.items() if row.payment_status == "FAILED"}
    taken = {capture.booking for capture in facts.captures}
    open_ = {each.booking for each in facts.payments if each.state in {"open", "capturing"}}
    return failed & (taken | open_)


PAPERS = {"tickets": "Ticket", "mail": "Mail"}  # apps and their models


def _read_papers(facts: Facts, tiers: list[UUID]) -> None:
    # By their names, because these apps came later than the referee.
    from django.apps import apps

    models: dict[str, Any] = {
        name: apps.get_model(name, model)
        for name, model in PAPERS.items()
        if name in apps.app_configs
    }
    facts.apps = list(models)
    if "tickets" in models:
        rows = models["tickets"].objects.filter(booking__ticket_tier__in=tiers)
        for row in rows.select_related("booking").order_by("pk"):
            valid = row.state == "VALID"
            facts.tickets.append(Ticket(str(row.booking_id), row.number, row.code, valid))
    if "mail" in models:
        # Runs before this one have left mails in the database, and none of them is about these customers.
        customers = {who for row in facts.bookings.values() for who in (row.user, row.handed_to)}
        for mail in models["mail"].objects.filter(address__in=customers):
            row = Mail(mail.key, str(mail.about), mail.status, mail.message_id, mail.address)
            facts.mails.append(row)


# Jobs that a worker could take now, or has taken. Periodic ones come again and again.
OPEN_JOBS = """
SELECT task_name, args, status, attempts FROM procrastinate_jobs
WHERE status IN ('todo', 'doing') AND NOT args ? 'timestamp'
"""
LATE = "bookings.tasks.look_for_late_payment"


def _open_jobs(may_be_late: set[str]) -> Iterable[str]:
    # The look for late money goes on for half a day. It is open as long as there is money to be found.
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(OPEN_JOBS)
        rows = cursor.fetchall()
    for task, arguments, status, attempts in rows:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        if task != LATE or arguments.get("booking_id") in may_be_late:
            yield f"{task} {arguments}, {status}, {attempts} attempts"
