"""To settle: write down what the payment gateway answered. Each change happens once, whoever races.

| the gateway says | a PENDING booking becomes |
|---|---|
| SUCCEEDED | CONFIRMED |
| DECLINED | FAILED, DECLINED; its tickets return |
| NOT_FOUND | FAILED, EXPIRED; its tickets return; a late charge is looked for |
| nothing (None) | PENDING as before, and nobody is at work on it |

Several settlements share a statement (`send` and `read`); `settle` settles one, whatever became of its
booking meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from bookings.jobs import defer
from bookings.models import Booking
from bookings.payments import Outcome
from concerts import stock
from ticketbook.postgres.statements import execute

Status, PaymentStatus, FailureReason = Booking.Status, Booking.PaymentStatus, Booking.FailureReason


class State(NamedTuple):
    status: Booking.Status
    payment_status: Booking.PaymentStatus
    failure_reason: Booking.FailureReason
    outcome_unknown: bool


STATES = {
    Outcome.SUCCEEDED: State(Status.CONFIRMED, PaymentStatus.SUCCESS, FailureReason.NONE, False),
    Outcome.DECLINED: State(Status.FAILED, PaymentStatus.FAILED, FailureReason.DECLINED, False),
    Outcome.NOT_FOUND: State(Status.FAILED, PaymentStatus.FAILED, FailureReason.EXPIRED, False),
    None: State(Status.PENDING, PaymentStatus.PENDING, FailureReason.NONE, True),
}


@dataclass(frozen=True, slots=True)
class Settlement:
    """A hold, and what the gateway said about its charge; None if it said nothing."""

    booking: Booking
    outcome: Outcome | None
    now: datetime
    due: datetime | None = None  # when the resolver may take a hold that stays PENDING

    @property
    def state(self) -> State:
        return STATES[self.outcome]

    @property
    def returns_tickets(self) -> bool:
        """So it needs the tier's lock."""
        return self.state.status == Status.FAILED

    def show(self) -> Booking:
        """After the commit: let the booking say what was written."""
        for name, value in self.state._asdict().items():
            setattr(self.booking, name, value)
        self.booking.hold_expires_at = self.due or self.booking.hold_expires_at
        self.booking.updated_at = self.now
        return self.booking


SETTLE = """
UPDATE bookings_booking booking
SET status = word.status, payment_status = word.payment_status,
    failure_reason = word.failure_reason, outcome_unknown = word.outcome_unknown,
    hold_expires_at = coalesce(word.due, booking.hold_expires_at), updated_at = word.at
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bool[],
            %s::timestamptz[], %s::timestamptz[])
    AS word (id, status, payment_status, failure_reason, outcome_unknown, due, at)
WHERE booking.id = word.id AND booking.status = 'PENDING'
RETURNING booking.id, booking.status, booking.quantity
"""


def send(settlements: Sequence[Settlement]) -> CursorWrapper | None:
    """Write them down where the booking is still PENDING."""
    if not settlements:
        return None
    words = [(s.booking.pk, *s.state, s.due, s.now) for s in settlements]
    return execute(SETTLE, [list(column) for column in zip(*words, strict=True)])


def read(settlements: Sequence[Settlement], sent: CursorWrapper | None) -> tuple[list[bool], int]:
    """Which of them were written, and how many tickets return."""
    rows = {pk: (status, quantity) for pk, status, quantity in sent.fetchall()} if sent else {}
    written = [rows.get(s.booking.pk, ("", 0))[0] == s.state.status for s in settlements]
    return written, sum(quantity for status, quantity in rows.values() if status == Status.FAILED)


def write(settlements: Sequence[Settlement]) -> list[bool]:
    """Settle those that return no tickets, and so need no lock; which of them were still PENDING.

    It is one statement, and so a transaction of its own.
    """
    assert not any(settlement.returns_tickets for settlement in settlements)
    written, _ = read(settlements, send(settlements))
    return written


def settle(booking: Booking, outcome: Outcome, *, now: datetime) -> Booking:
    """Settle one booking by itself, however it stands by now."""
    settlement = Settlement(booking, outcome, now)
    with transaction.atomic(durable=True):
        if settlement.returns_tickets:
            tier = stock.lock_tier(booking.ticket_tier_id)  # the tier before the booking, always
        [written], returned = read([settlement], send([settlement]))
        if returned:
            stock.give_back(tier, returned, now=now)
        if written and outcome is Outcome.NOT_FOUND:
            # A charge may still be on its way to the gateway: look again later.
            defer("look_for_late_payment", booking)
        if not written and outcome is Outcome.SUCCEEDED:
            note_late_money(booking, now=now)
    booking.refresh_state()
    return booking


def note_late_money(booking: Booking, *, now: datetime) -> None:
    """Money that came after the tickets went back is owed, and sent back by a job."""
    too_late = Booking.objects.filter(
        pk=booking.pk,
        status=Status.FAILED,
        payment_status=PaymentStatus.FAILED,
        failure_reason=FailureReason.EXPIRED,
    ).update(payment_status=PaymentStatus.SUCCESS, updated_at=now)
    if too_late:
        defer("refund_booking", booking)
