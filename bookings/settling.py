"""To settle a hold: write down what the payment gateway said about its charge.

| the gateway says | a PENDING booking becomes |
|---|---|
| SUCCEEDED | CONFIRMED |
| DECLINED | FAILED, DECLINED; its tickets return |
| NOT_FOUND or CANCELLED | FAILED, EXPIRED; its tickets return; a late payment is looked for |
| nothing (None) | PENDING as before, marked so that the resolver may take it |
| to pay at its page (ActionNeeded) | PENDING for as long as that may take, with the page's address |

Only a PENDING booking is settled, so each is settled once, however many try. `settle` also notes money that
came after a booking had expired. A booking whose concert was called off meanwhile is not confirmed, so only
`settle` writes that it was paid, and cancels it at once (bookings/calling_off.py).

| used for | by | lock | tickets return in |
|---|---|---|---|
| `write`: many that keep their tickets, in one statement | the lane of settlements | none | – |
| `send_settlements`, `read_settlements` | a tier's lane | the caller's | `LockedTier` |
| `settle`: one, perhaps settled already | resolver, jobs, late or cancelled payments | its own | `settle` |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from bookings import mails
from bookings.calling_off import cancel_paid
from bookings.gateways.base import ActionNeeded, Outcome
from bookings.jobs import defer
from bookings.models import Booking, Refund
from bookings.refunding import owe
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
    Outcome.CANCELLED: State(Status.FAILED, PaymentStatus.FAILED, FailureReason.EXPIRED, False),
    None: State(Status.PENDING, PaymentStatus.PENDING, FailureReason.NONE, True),
}


@dataclass(frozen=True, slots=True)
class Settlement:
    """A hold, and what the gateway said about its charge; None if it said nothing."""

    booking: Booking
    outcome: Outcome | None
    now: datetime
    due: datetime | None = None  # when the resolver may take a hold that stays PENDING
    action: ActionNeeded | None = None  # where the customer has to pay

    @property
    def state(self) -> State:
        return STATES[self.outcome]

    @property
    def returns_tickets(self) -> bool:
        """Whether it moves stock, and so needs the tier's lock."""
        return self.state.status == Status.FAILED

    def applied(self) -> Booking:
        """The booking with what was written. Call it after the commit."""
        unknown = self.booking.outcome_unknown
        for name, value in self.state._asdict().items():
            setattr(self.booking, name, value)
        if self.returns_tickets:  # it stays as it is, as in SETTLE
            self.booking.outcome_unknown = unknown
        self.booking.hold_expires_at = self.due or self.booking.hold_expires_at
        self.booking.updated_at = self.now
        if self.action is not None:
            self.booking.action_url = self.action.url
            self.booking.gateway_reference = self.action.reference
        return self.booking


SETTLE = """
UPDATE bookings_booking booking
SET status = new.status, payment_status = new.payment_status,
    failure_reason = new.failure_reason,
    outcome_unknown = new.outcome_unknown OR (booking.outcome_unknown AND new.status = 'FAILED'),
    hold_expires_at = coalesce(new.due, booking.hold_expires_at), updated_at = new.at
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bool[],
            %s::timestamptz[], %s::timestamptz[])
    AS new (id, status, payment_status, failure_reason, outcome_unknown, due, at)
WHERE booking.id = new.id AND booking.status = 'PENDING'
    AND NOT (booking.called_off AND new.status = 'CONFIRMED')
RETURNING booking.id, booking.status, booking.quantity
"""


def send_settlements(settlements: Sequence[Settlement]) -> CursorWrapper | None:
    """Send the UPDATE of bookings that are still PENDING. `read_settlements` reads its result.

    It changes bookings only. If one of them returns tickets, the caller holds the tier's lock, and puts the
    tickets back into stock in the same transaction.
    """
    if not settlements:
        return None
    rows = [(s.booking.pk, *s.state, s.due, s.now) for s in settlements]
    return execute(SETTLE, [list(column) for column in zip(*rows, strict=True)])


# Holds whose customers have to pay at a page of the gateway. If the concert was called off meanwhile, the
# resolver takes the hold at once and closes the payment.
AWAIT_CUSTOMERS = """
UPDATE bookings_booking booking
SET outcome_unknown = true, updated_at = new.at,
    hold_expires_at = CASE WHEN booking.called_off THEN new.at ELSE new.due END,
    gateway_reference = new.reference, action_url = new.url
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[])
    AS new (id, due, at, reference, url)
WHERE booking.id = new.id AND booking.status = 'PENDING'
RETURNING booking.id
"""


def _write_actions(settlements: Sequence[Settlement]) -> set[UUID]:
    rows = [
        (s.booking.pk, s.due, s.now, s.action.reference, s.action.url)
        for s in settlements
        if s.action is not None
    ]
    if not rows:
        return set()
    sent = execute(AWAIT_CUSTOMERS, [list(column) for column in zip(*rows, strict=True)])
    return {pk for (pk,) in sent.fetchall()}


def read_settlements(
    settlements: Sequence[Settlement], sent: CursorWrapper | None
) -> tuple[list[bool], int]:
    """Which of the settlements were written, and how many tickets the caller has to put back."""
    rows = {pk: (status, quantity) for pk, status, quantity in sent.fetchall()} if sent else {}
    # Two settlements of one booking may meet in a batch. Only the one whose status it got was written.
    written = [rows.get(s.booking.pk, ("", 0))[0] == s.state.status for s in settlements]
    return written, sum(quantity for status, quantity in rows.values() if status == Status.FAILED)


def write(settlements: Sequence[Settlement]) -> list[bool]:
    """Settle bookings that keep their tickets, and so need no lock, in a statement of their own.

    Returns which of them were still PENDING, and so were written.
    """
    assert not any(settlement.returns_tickets for settlement in settlements)
    awaiting = _write_actions(settlements)
    others = [settlement for settlement in settlements if settlement.action is None]
    written, _ = read_settlements(others, send_settlements(others))
    rest = iter(written)
    return [next(rest) if s.action is None else s.booking.pk in awaiting for s in settlements]


def settle(booking: Booking, outcome: Outcome, *, now: datetime) -> Booking:
    """Settle one booking, which may have been settled already; returns it as it stands afterwards."""
    settlement = Settlement(booking, outcome, now)
    with transaction.atomic(durable=True):
        if settlement.returns_tickets:
            tier = stock.lock_tier(booking.ticket_tier_id)  # the tier before the booking, always
        [written], returned = read_settlements([settlement], send_settlements([settlement]))
        if returned:  # so returns_tickets was true, and the tier is locked
            stock.give_back(tier, returned, now=now)
        if written and outcome in {Outcome.NOT_FOUND, Outcome.CANCELLED}:
            # A payment may still be on its way to the gateway, so a job looks again later.
            defer("look_for_late_payment", booking)
        if not written and outcome is Outcome.SUCCEEDED:
            _note_late_money(booking, now=now)
    booking.refresh_state()
    if outcome is Outcome.SUCCEEDED and booking.status == Status.PENDING:
        cancel_paid(booking, now=now)
    return booking


def _note_late_money(booking: Booking, *, now: datetime) -> None:
    # The tickets of the booking went back before its money came, so the money is owed.
    too_late = Booking.objects.filter(
        pk=booking.pk, status=Status.FAILED, payment_status=PaymentStatus.FAILED
    ).update(
        payment_status=PaymentStatus.SUCCESS, failure_reason=FailureReason.EXPIRED, updated_at=now
    )
    if too_late:
        refund = owe(booking, booking.total_price, Refund.Reason.LATE, now=now)
        mails.tell_refunded(refund)
