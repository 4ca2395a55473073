"""What a fault cost: figures from the history of the clients and the facts on the surviving timeline."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from chaos.facts import Facts, owed
from chaos.history import Attempt, History

# Seconds without an acknowledged booking that a fault may cost.
TARGETS = {"postmaster": 10.0, "switchover": 5.0}
TARGET = 30.0
# What may cost nobody an answer.
UNNOTICED = {"rolling_restart", "wrong_clock"}
# Whatever happens, this is all that a client may meet. Only HAProxy's own death cuts connections.
BUSY = "503 busy"
CUTS_CONNECTIONS = {"haproxy"}
NO_RETRY_AFTER = "without Retry-After"


@dataclass(frozen=True)
class Found:
    """What clients were told, and how it compares with the books when all has come to rest."""

    history: History
    lost: int
    taken: str
    booked: str
    wrong: list[str]
    arrivals: dict[str, float] | None = None


@dataclass
class Figures:
    """One fault. Times are in seconds."""

    fault: str
    hit: str  # what was hit
    gap: float  # the longest time without an acknowledged booking, counted to the end of the observation
    takes_over: float | None  # until another member led; None if none had to
    # From the mending until every part ran, etcd and PostgreSQL were in their places, and the site was
    # ready; None if that never came.
    rejoins: float | None
    bookings: int  # acknowledged
    errors: dict[str, int]  # by kind, from the fault on
    lost: int  # acknowledged bookings that the surviving timeline has not
    late_read_only: int  # statements refused as read-only more than 5 s after a member took over
    leader: str  # at the end, with its timeline
    taken: str  # what the gateway took and did not send back
    booked: str  # what the books say that it should have
    load: float  # of the machine in the last minute
    wrong: list[str] = field(
        default_factory=list
    )  # what the referee and the audit found, a sentence each
    arrivals: dict[str, float] | None = (
        None  # of a run at a fixed rate (deploy/failover/arrivals.py)
    )

    @property
    def target(self) -> float:
        return TARGETS.get(self.fault, TARGET)

    def failures(self) -> list[str]:
        """What was not as promised, a sentence each."""
        found = list(self.wrong)
        if self.gap >= self.target:
            found.append(f"No booking was acknowledged for {self.gap:.1f} s.")
        found += [f"Requests failed: {number} × {kind}." for kind, number in self._breaches()]
        if self.lost:
            found.append(f"{self.lost} acknowledged bookings are lost.")
        if self.taken != self.booked:
            found.append(f"The gateway has {self.taken}, and the books say {self.booked}.")
        if self.rejoins is None:
            found.append("Not all parts came back.")
        if self.late_read_only:
            found.append(f"{self.late_read_only} statements met a primary that takes no writes.")
        return found

    def _breaches(self) -> list[tuple[str, int]]:
        if self.fault in UNNOTICED:
            return list(self.errors.items())
        return [(kind, number) for kind, number in self.errors.items() if not self._may_be(kind)]

    def _may_be(self, kind: str) -> bool:
        is_an_answer = kind[0].isdigit()
        return kind == BUSY or (self.fault in CUTS_CONNECTIONS and not is_an_answer)

    def write(self, folder: Path) -> None:
        (folder / "figures.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls(**json.loads((folder / "figures.json").read_text()))


def is_acknowledged(attempt: Attempt) -> bool:
    return attempt.verb == "book" and attempt.status == 201 and not attempt.replayed


def arrivals_in(journal: Path, *, zero: float) -> list[Attempt]:
    """What the customers were told, by the journal that they wrote (bench/arrivals.py)."""
    lines = map(json.loads, journal.read_text().splitlines())
    return [_attempt(number, told, zero) for number, told in enumerate(lines)]


def _attempt(number: int, told: dict[str, Any], zero: float) -> Attempt:
    return Attempt(
        number,
        "crowd",
        "book",
        {},
        began=told["due"] - zero,
        ended=told["answered"] - zero,
        status=told["status"],
        code=told["code"],
        answer={"id": told["booking"]},
        error="" if told["status"] else "connection lost: no answer",
        retry_after=told["retry_after"],
    )


def longest_gap(history: History, *, since: float, until: float) -> float:
    """The longest time without an acknowledged booking from the last one before `since` up to `until`.

    A stall that never ends counts up to `until`.
    """
    times = sorted(each.ended for each in history.attempts if is_acknowledged(each))
    before = [each for each in times if each <= since]
    points = [before[-1] if before else 0.0]
    points += [each for each in times if since < each < until] + [until]
    return max(after - at for at, after in pairwise(points))


def errors_of(history: History, *, since: float) -> dict[str, int]:
    """How many requests after `since` got no definite answer, by kind."""
    kinds = (_kind(each) for each in history.attempts if each.ended > since)
    return dict(Counter(kind for kind in kinds if kind).most_common())


def _kind(attempt: Attempt) -> str:
    if attempt.status >= 500:
        kind = f"{attempt.status} {attempt.code}".strip()
        return kind if attempt.retry_after or kind != BUSY else f"{kind} {NO_RETRY_AFTER}"
    if attempt.status:
        return ""
    return attempt.error.partition(":")[0] or "no answer"


def lost(history: History, facts: Facts) -> list[str]:
    """Bookings that clients were told are confirmed, and that do not exist."""
    told = {each.answer["id"] for each in history.attempts if is_acknowledged(each)}
    return sorted(told - set(facts.bookings))


def money(facts: Facts) -> tuple[str, str]:
    """What the gateway has of these bookings, and what the books say that it has."""
    taken = sum(owed(facts).values(), Decimal(0))
    paid = (row for row in facts.bookings.values() if row.payment_status in {"SUCCESS", "REFUNDED"})
    booked = sum((Decimal(row.total) - Decimal(row.refunded) for row in paid), Decimal(0))
    return f"{taken:.2f}", f"{booked:.2f}"
