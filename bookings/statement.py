"""Compares a gateway's statement with the books: after a restore the gateway knows more than they do.

A statement is a CSV file with these columns, one payment or refund a line:

    kind      charge or refund
    key       the idempotency key: the booking's id for a charge, the refund's for a refund
    booking   the booking's id
    amount    in CURRENCY
    at        when the money moved, as the gateway writes it
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from uuid import UUID

from bookings.models import Booking, Refund

COLUMNS = ("kind", "key", "booking", "amount", "at")
BATCH = 1000  # lines that are looked up together
PAID = {Booking.PaymentStatus.SUCCESS, Booking.PaymentStatus.REFUNDED}


class BadStatement(ValueError):
    """The message says which line of the file cannot be read, and why."""


@dataclass(frozen=True)
class Line:
    kind: str
    key: UUID
    booking: UUID
    amount: Decimal
    at: str


def read(file: Path) -> Iterator[Line]:
    """The lines of a statement. Raises BadStatement, and OSError."""
    with open(file, newline="", encoding="utf-8-sig") as text:
        rows = csv.DictReader(text)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise BadStatement(f"{file} has no column {', '.join(sorted(missing))}.")
        for row in rows:
            yield _line(row, f"{file}, line {rows.line_num}")


def _line(row: dict[str, str], where: str) -> Line:
    try:
        amount = Decimal(row["amount"])
        line = Line(row["kind"], UUID(row["key"]), UUID(row["booking"]), amount, row["at"])
    except (ValueError, InvalidOperation, TypeError, AttributeError):
        raise BadStatement(
            f"{where}: a key or booking is no id, or the amount is no number."
        ) from None
    if line.kind not in {"charge", "refund"} or not amount.is_finite():
        raise BadStatement(f"{where}: the kind is charge or refund, and the amount is a number.")
    return line


def unknown(lines: Iterable[Line]) -> Iterator[str]:
    """A sentence for each line that the books do not know, or know otherwise. It only reads."""
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        bookings = Booking.objects.in_bulk({line.booking for line in batch})
        refunds = Refund.objects.in_bulk({line.key for line in batch if line.kind == "refund"})
        for line in batch:
            booking = bookings.get(line.booking)
            if line.kind == "charge":
                sentence = _charge(line, booking)
            else:
                sentence = _refund(line, booking, refunds.get(line.key))
            if sentence:
                yield sentence


def _charge(line: Line, booking: Booking | None) -> str:
    taken = f"{line.amount} was taken for booking {line.booking} at {line.at}"
    if booking is None:
        return (
            f"{taken}, and these books have no such booking. Send the money back at the gateway, or ask the "
            "customer to book again first."
        )
    if booking.total_price != line.amount:
        return f"{taken}, and here it costs {booking.total_price}. Ask the gateway which is right."
    if booking.payment_status in PAID:
        return ""
    if booking.status == Booking.Status.PENDING:
        return f"{taken}, and here it is pending. Start the worker: it asks the gateway, and settles it."
    return (
        f"{taken}, and here it is {booking.status} and not paid. If the worker has sent nothing back by "
        "tomorrow, send the money back at the gateway."
    )


def _refund(line: Line, booking: Booking | None, refund: Refund | None) -> str:
    sent = f"{line.amount} of booking {line.booking} was sent back at {line.at}"
    if booking is None:
        return f"{sent}, and these books have no such booking. Nothing is owed for this part of its price."
    if refund is None:
        return (
            f"{sent}, and these books do not know that refund; here the booking is {booking.status}. Return "
            f"its tickets without money: manage.py return_tickets {line.booking} NUMBER --no-refund"
        )
    if (refund.booking_id, refund.amount) != (line.booking, line.amount):
        return f"{sent}, and here refund {refund.pk} is {refund.amount} of booking {refund.booking_id}."
    return ""  # one that is due here is sent again under its key, and moves no money twice
