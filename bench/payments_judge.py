"""Whether money and bookings agree after `make soak-payments`."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

MOST = 20  # sentences of each kind; a broken run would print thousands


@dataclass(frozen=True)
class Row:
    """A booking, as far as its money goes."""

    status: str
    payment_status: str
    price: Decimal


@dataclass(frozen=True)
class Sent:
    """A refund: of our tables, or of the payment page's ledger."""

    key: str
    booking: str
    amount: Decimal


@dataclass
class Facts:
    """What our database says, and what the payment page says. Everything is named by the booking's id."""

    bookings: dict[str, Row] = field(default_factory=dict)
    refunds: list[Sent] = field(default_factory=list)  # that were sent
    unsent: list[Sent] = field(default_factory=list)  # that are due, or were refused
    states: dict[str, str] = field(default_factory=dict)  # of the page's payments
    captures: list[tuple[str, Decimal]] = field(default_factory=list)
    page_refunds: list[Sent] = field(default_factory=list)
    slow: int = 0  # payments whose bank has still to take the money
    audit: list[str] = field(default_factory=list)


def judge(facts: Facts) -> list[str]:
    """A sentence for each thing that is wrong; an empty list if all is well."""
    found: list[str] = []
    for rule in (_unsettled, _captures, _confirmed, _refunds, _ledgers_agree):
        sentences = list(rule(facts))
        found += sentences[:MOST]
        if len(sentences) > MOST:
            found.append(f"… and {len(sentences) - MOST} more of this kind.")
    return found + [f"Audit: {sentence}" for sentence in facts.audit]


def _unsettled(facts: Facts) -> Iterator[str]:
    for pk, booking in facts.bookings.items():
        if booking.status == "PENDING":
            yield f"Booking {pk} is still PENDING; its payment is {facts.states.get(pk, 'unknown')}."
    for pk, state in facts.states.items():
        if state == "open":
            yield f"The payment of booking {pk} can still be made."
    if facts.slow:
        yield f"The bank has still to take the money of {facts.slow} payments."
    for refund in facts.unsent:
        yield f"Refund {refund.key} of booking {refund.booking} was not sent."


def _captures(facts: Facts) -> Iterator[str]:
    taken: defaultdict[str, list[Decimal]] = defaultdict(list)
    for pk, amount in facts.captures:
        taken[pk].append(amount)
    back = _sums(facts.page_refunds)
    for pk, amounts in taken.items():
        booking = facts.bookings.get(pk)
        if booking is None:
            yield f"Money was taken for {pk}, which is no booking."
            continue
        if amounts != [booking.price]:
            yield f"Booking {pk} costs {booking.price}, and {_list(amounts)} was taken."
        owed = booking.price if booking.status == "FAILED" else Decimal(0)
        if back[pk] != owed:
            yield f"Booking {pk} is {booking.status}: {owed} has to go back, and {back[pk]} did."


def _confirmed(facts: Facts) -> Iterator[str]:
    paid = {pk for pk, _ in facts.captures}
    for pk, booking in facts.bookings.items():
        if booking.status == "CONFIRMED" and pk not in paid:
            yield f"Booking {pk} is CONFIRMED, and nobody has paid."
        if booking.status == "FAILED" and (booking.payment_status == "REFUNDED") != (pk in paid):
            yield (
                f"Booking {pk} is FAILED with payment status {booking.payment_status}, "
                f"and money was {'' if pk in paid else 'not '}taken."
            )


def _refunds(facts: Facts) -> Iterator[str]:
    paid = {pk for pk, _ in facts.captures}
    for refund in facts.page_refunds:
        if refund.booking not in paid:
            yield f"{refund.amount} was sent back for booking {refund.booking}, and nobody has paid."
    for pk, number in Counter(refund.booking for refund in facts.page_refunds).items():
        if number > 1:
            yield f"Booking {pk} was refunded {number} times."


def _ledgers_agree(facts: Facts) -> Iterator[str]:
    ours, theirs = set(facts.refunds), set(facts.page_refunds)
    for refund in ours - theirs:
        yield f"Refund {refund.key} of booking {refund.booking} is SENT, and the page does not have it."
    for refund in theirs - ours:
        yield f"The page has refund {refund.key} of booking {refund.booking}, and we do not."


def _sums(refunds: list[Sent]) -> defaultdict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for refund in refunds:
        sums[refund.booking] += refund.amount
    return sums


def _list(amounts: list[Decimal]) -> str:
    return " and ".join(str(amount) for amount in amounts)


def gather(ledger: Path) -> Facts:
    """The facts of the database that the settings name, and of the payment page's file."""
    from bookings.audit import audit
    from bookings.models import Booking, Refund

    facts = Facts(audit=audit())
    with closing(sqlite3.connect(ledger)) as page:
        facts.states = dict(page.execute("SELECT key, state FROM payment"))
        facts.slow = _count(page, "payment WHERE capture_at IS NOT NULL")
        rows = page.execute("SELECT payment, cents FROM capture")
        facts.captures = [(pk, _amount(cents)) for pk, cents in rows]
        rows = page.execute("SELECT key, payment, cents FROM refund")
        facts.page_refunds = [Sent(key, pk, _amount(cents)) for key, pk, cents in rows]
    bookings = Booking.objects.filter(gateway="hosted").values_list(
        "pk", "status", "payment_status", "total_price"
    )
    facts.bookings = {
        str(pk): Row(status, paid, price) for pk, status, paid, price in bookings.iterator()
    }
    for refund in Refund.objects.filter(booking__gateway="hosted"):
        sent = Sent(str(refund.pk), str(refund.booking_id), refund.amount)
        (facts.refunds if refund.status == Refund.Status.SENT else facts.unsent).append(sent)
    return facts


def webhooks(ledger: Path) -> dict[str, int]:
    """How many there were, and what became of them on their way."""
    wanted = {
        "events": "event",
        "lost": "event WHERE lost",
        "sent twice": "event WHERE doubled AND NOT lost",
        "never taken": "event WHERE delivered_at IS NULL AND NOT lost",
        "sent again": "event WHERE attempts > 1",
    }
    with closing(sqlite3.connect(ledger)) as page:
        return {name: _count(page, rows) for name, rows in wanted.items()}


def _count(page: sqlite3.Connection, rows: str) -> int:
    count: int = page.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
    return count


def _amount(cents: int) -> Decimal:
    return (Decimal(cents) / 100).quantize(Decimal("0.01"))
