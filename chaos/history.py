"""The record of a run: what clients asked and what they were told, and the faults meanwhile, as JSON lines.

The first line is the header. Every other line is one attempt (a retry under the same key is another one), or
one fault. All times are seconds since the run began, on one monotonic clock; `epoch` in the header is the
Unix time of its zero.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

# Outcomes of an attempt.
OK = "ok"  # a definite success
REFUSED = "refused"  # a definite refusal, 4xx
UNKNOWN = "unknown"  # 202, 5xx, a cut connection, a time-out: it may have happened, now or later

# Before the address of a customer who books as a guest. The account with the same address is somebody else
# to the site, but for the limit: that is counted by person.
GUEST = "guest:"

# Clients that are staff: by the verbs of the core, and by the pages of the back office.
STAFF, DESK = "staff", "desk"

FAULT = "fault"
BUSY_MACHINE = "busy_machine"  # no fault of ours: the machine had no time for the clients


@dataclass
class Attempt:
    """One request of a client, and what it was told."""

    n: int  # in the order in which they began
    client: str
    verb: str
    request: dict[str, Any]
    began: float
    ended: float = 0.0
    outcome: str = UNKNOWN
    status: int = 0  # of HTTP; 0 without an answer, and for staff
    code: str = ""  # of the problem
    replayed: bool = False
    answer: Any = None  # the body, as parsed JSON
    error: str = ""  # what went wrong on the way
    retry_after: str = ""  # the header, as it came


@dataclass
class Fault:
    """A fault that was injected."""

    name: str
    request: dict[str, Any]  # its arguments
    began: float
    ended: float = 0.0
    note: str = ""  # what was hit


@dataclass
class Header:
    seed: int
    schedule: list[str]
    began_at: str  # ISO 8601
    epoch: float
    failpoints: str = ""  # of the site
    customers: dict[str, str] = field(default_factory=dict)  # by client: who it is


@dataclass
class History:
    header: Header
    attempts: list[Attempt] = field(default_factory=list)  # in the order in which they began
    faults: list[Fault] = field(default_factory=list)

    def customer_of(self, attempt: Attempt) -> str:
        """For whom the client asked; empty if the header does not say who is who."""
        if not self.header.customers:
            return ""
        customer = attempt.request.get("customer")  # staff book for somebody
        return str(customer or self.header.customers.get(attempt.client, attempt.client))

    def person_of(self, attempt: Attempt) -> str:
        """The address of the customer, who may be a guest or have an account."""
        return self.customer_of(attempt).removeprefix(GUEST)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises OSError, and ValueError for what is no history."""
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        try:
            history = cls(Header(**lines[0]))
            for line in lines[1:]:
                if line.get("verb") == FAULT:
                    line.pop("verb")
                    history.faults.append(Fault(**line))
                else:
                    history.attempts.append(Attempt(**line))
        except (TypeError, IndexError, AttributeError) as exc:
            raise ValueError(f"{file} is no history: {exc}") from exc
        history.attempts.sort(key=lambda attempt: attempt.n)
        return history


class Recorder:
    """Writes a history while it happens. A line is written when its attempt ends."""

    def __init__(self, file: Path, *, seed: int, schedule: list[str], **known: Any) -> None:
        """`known` is what else the header says."""
        self.zero = time.monotonic()
        now = time.time()
        began_at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        self.header = Header(seed, schedule, began_at, now, **known)
        self._file = open(file, "w", buffering=1)  # noqa: SIM115 - closed by close()
        self.requests = 0
        self._write(asdict(self.header))

    def now(self) -> float:
        return round(time.monotonic() - self.zero, 6)

    @contextmanager
    def attempt(self, client: str, verb: str, request: dict[str, Any]) -> Iterator[Attempt]:
        """Record what happens in the block, which fills in the answer. It is unknown until then."""
        self.requests += 1
        attempt = Attempt(self.requests, client, verb, request, self.now())
        try:
            yield attempt
        finally:
            attempt.ended = self.now()
            self._write(asdict(attempt))

    @contextmanager
    def fault(self, name: str, request: dict[str, Any]) -> Iterator[Fault]:
        fault = Fault(name, request, self.now())
        try:
            yield fault
        finally:
            fault.ended = self.now()
            self._write({"verb": FAULT, **asdict(fault)})

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if not self._file.closed:
            self._file.write(json.dumps(line) + "\n")
