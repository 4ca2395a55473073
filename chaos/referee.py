"""The referee: decides from the history and the facts whether a promise was broken.

It is pure. A violation names its check, and says in a sentence which clients, requests and rows show it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from chaos.facts import Facts, owed, unsettled
from chaos.history import OK, Attempt, History


@dataclass(frozen=True)
class Violation:
    check: str
    sentence: str


@dataclass
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    examined: dict[str, int] = field(
        default_factory=dict
    )  # by check: how many things were looked at


def judge(history: History, facts: Facts) -> list[Violation]:
    return verdict(history, facts).violations


def verdict(history: History, facts: Facts) -> Verdict:
    """As `judge`, with the number of things that each check has examined."""
    found = Verdict()
    for name, (check, things) in CHECKS.items():
        found.examined[name] = things(history, facts)
        found.violations += [Violation(name, sentence) for sentence in check(history, facts)]
    return found


def _not_quiet(history: History, facts: Facts) -> Iterator[str]:
    yield from unsettled(facts)


def _audit(history: History, facts: Facts) -> Iterator[str]:
    yield from facts.audit


def _charged_twice(history: History, facts: Facts) -> Iterator[str]:
    for booking, number in Counter(capture.booking for capture in facts.captures).items():
        if number > 1:
            yield f"Booking {booking} was charged {number} times."


def _money_kept(history: History, facts: Facts) -> Iterator[str]:
    """Money stays only for a confirmed booking: its price without what was refunded."""
    for pk, kept in owed(facts).items():
        booking = facts.bookings.get(pk)
        if booking is None:
            if kept:
                yield f"The gateway keeps {kept} under the key {pk}, which is no booking."
            continue
        right = Decimal(0)
        if booking.status == "CONFIRMED":
            right = Decimal(booking.total) - Decimal(booking.refunded)
        if kept != right:
            yield (
                f"Booking {pk} is {booking.status} with payment status {booking.payment_status}, "
                f"price {booking.total}, refunded {booking.refunded}: the gateway keeps {kept}, "
                f"not {right}."
            )
    paid = {capture.booking for capture in facts.captures}
    for pk, booking in facts.bookings.items():
        at_gateway = booking.source == "ONLINE" and Decimal(booking.total) > 0
        if booking.status == "CONFIRMED" and at_gateway and pk not in paid:
            yield f"Booking {pk} is CONFIRMED, and nobody has paid for it."


def _lost_booking(history: History, facts: Facts) -> Iterator[str]:
    """A booking that a client was told of is CONFIRMED, or was cancelled by request or by calling off."""
    may_be_cancelled = {
        attempt.request["booking"] for attempt in history.attempts if attempt.verb in GIVES_BACK
    }
    for attempt in _told(history):
        pk = attempt.answer["id"]
        who = f"{attempt.client} (request {attempt.n})"
        booking = facts.bookings.get(pk)
        if booking is None:
            yield f"{who} was told of booking {pk}, which does not exist."
        elif booking.key != attempt.request["key"]:
            yield f"{who} was told of booking {pk}, which has the key {booking.key}."
        elif booking.status not in {"CONFIRMED", "CANCELLED"}:
            yield f"{who} was told that booking {pk} is confirmed, and it is {booking.status}."
        elif booking.status == "CANCELLED" and not (pk in may_be_cancelled or booking.called_off):
            yield f"{who} was told of booking {pk}; it is CANCELLED, and nobody asked for that."


GIVES_BACK = {"cancel", "return"}


def _told(history: History) -> list[Attempt]:
    return [
        attempt
        for attempt in history.attempts
        if attempt.verb in {"book", "book_for"}
        and attempt.outcome == OK
        and attempt.answer["status"] in {"CONFIRMED", "CANCELLED"}
    ]


Check = Callable[[History, Facts], Iterator[str]]
Things = Callable[[History, Facts], int]

CHECKS: dict[str, tuple[Check, Things]] = {
    "not_quiet": (_not_quiet, lambda history, facts: len(facts.bookings) + len(facts.refunds)),
    "audit": (_audit, lambda history, facts: len(facts.tiers)),
    "charged_twice": (_charged_twice, lambda history, facts: len(facts.captures)),
    "money_kept": (_money_kept, lambda history, facts: len(facts.captures)),
    "lost_booking": (_lost_booking, lambda history, facts: len(_told(history))),
}
