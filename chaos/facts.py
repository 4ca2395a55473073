"""What is true after quiet: the rows of a run's tiers, the ledgers of the gateways, and what the audit says.

Times are seconds on the history's clock.
"""

import json
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from chaos.history import GUEST


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
    """A booking of whoever has made it, also after it was handed over to another address."""

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
    guest: bool = False  # made by the form of a guest
    kept: bool = False  # a guest has made it, and it is, or was, in an account since
    handed_to: str = ""  # the address to which it was handed over

    @property
    def maker(self) -> str:
        """Who has made it, as the history names customers."""
        return GUEST + self.user if self.guest else self.user


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
class Payment:
    """A payment at the gateway that has a page of its own."""

    booking: str  # the key of the payment
    state: str  # open, paid, declined or cancelled; capturing: a slow bank will take the money
    amount: str
    closed_at: float | None  # when it was paid, declined or cancelled


@dataclass(frozen=True)
class Ticket:
    booking: str
    number: int
    code: str
    valid: bool


@dataclass(frozen=True)
class Mail:
    """A mail that the site has to send."""

    key: str  # of the event
    about: str
    status: str
    message_id: str
    address: str = ""


@dataclass(frozen=True)
class Letter:
    """A copy of a mail that arrived."""

    message_id: str
    at: float


@dataclass(frozen=True)
class CapacityChange:
    """What staff have changed of a tier's stock, in order of time."""

    tier: str
    at: float
    field: str  # "total" or "kept_back"
    old: int
    new: int
    press: str = ""  # the form of the back office that did it


@dataclass(frozen=True)
class Press:
    """What the history of a row says that a form of the back office has done."""

    key: str  # of the form
    about: str  # concert, tier or booking


@dataclass(frozen=True)
class Move:
    """A concert got another date or place."""

    concert: str


@dataclass
class Facts:
    tiers: dict[str, Tier] = field(default_factory=dict)
    concerts: dict[str, Concert] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    refunds: list[Refund] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    sent_back: list[SentBack] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    capacity: list[CapacityChange] = field(default_factory=list)
    # Failed bookings that keep the key of one used that was handed over.
    stand_ins: list[str] = field(default_factory=list)
    presses: list[Press] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    apps: list[str] = field(default_factory=list)  # `tickets` and `mail`, if the site has them
    tickets: list[Ticket] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)  # in order of time
    audit: list[str] = field(default_factory=list)
    # Jobs that could run now, and what they are about.
    open_jobs: list[str] = field(default_factory=list)
    # Seconds after which a hold may fail although the gateway says nothing about its payment.
    gives_up_after: float = 0.0

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Self:
        found: dict[str, Any] = json.loads(file.read_text())
        for name, kind in {"tiers": Tier, "concerts": Concert, "bookings": Booking}.items():
            found[name] = {pk: kind(**row) for pk, row in found[name].items()}
        for name, kind in LISTS.items():
            found[name] = [kind(**row) for row in found.get(name, [])]
        return cls(**found)


LISTS: dict[str, Any] = {
    "refunds": Refund,
    "returns": Return,
    "captures": Capture,
    "sent_back": SentBack,
    "payments": Payment,
    "tickets": Ticket,
    "mails": Mail,
    "letters": Letter,
    "capacity": CapacityChange,
    "presses": Press,
    "moves": Move,
}


def unsettled(facts: Facts) -> list[str]:
    """What has still to come to rest, a sentence each; an empty list when it is quiet."""
    found = unsent(facts) + [
        f"Booking {pk} is PENDING." for pk, row in facts.bookings.items() if row.status == "PENDING"
    ]
    found += [f"Refund {row.id} is DUE." for row in facts.refunds if row.status == "DUE"]
    if "tickets" in facts.apps:
        with_tickets = {ticket.booking for ticket in facts.tickets}
        found += [
            f"Booking {pk} has no tickets yet."
            for pk, row in facts.bookings.items()
            if row.status == "CONFIRMED" and pk not in with_tickets
        ]
    found += [
        f"A slow bank has still to take the money of booking {each.booking}."
        for each in facts.payments
        if each.state == "capturing"
    ]
    return found + [f"The job {job} is open." for job in facts.open_jobs]


def unsent(facts: Facts) -> list[str]:
    """A sentence for each mail that was not sent yet."""
    return [f"The mail {mail.key} waits." for mail in facts.mails if mail.status == "WAITING"]


def owed(facts: Facts) -> dict[str, Decimal]:
    """What the gateway has taken for each booking and not sent back."""
    kept: dict[str, Decimal] = {}
    for capture in facts.captures:
        kept[capture.booking] = kept.get(capture.booking, Decimal(0)) + Decimal(capture.amount)
    for sent in facts.sent_back:
        kept[sent.booking] = kept.get(sent.booking, Decimal(0)) - Decimal(sent.amount)
    return kept
