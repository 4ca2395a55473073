"""The lanes of this process: one for each tier, and four that need no lock.

| lane | what waits in it | threads |
|---|---|---|
| a tier's | wishes for its tickets, and settlements that give tickets back | TIER_THREADS |
| SETTLEMENTS | settlements that keep their tickets, of all tiers | SHARED_THREADS |
| TOKENS | digests of API tokens: whose are they? | SHARED_THREADS |
| KEYS | wishes that are about to be refused: has the same request made a booking before? | SHARED_THREADS |
| EVENTS | webhooks: events for the inbox, and those that have been handled | SHARED_THREADS |

`hold_alone` and `settle_alone` are the same steps for one item, without a lane.
"""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from accounts.auth import KnownCustomer, customers_of
from bookings import inbox, settling
from bookings.commits import Attempts, once_known
from bookings.inbox import Arrived, Handled, Noted
from bookings.lanes import Batch, Lane, LaneThreads
from bookings.models import Booking
from bookings.settling import Settlement
from bookings.tier_transaction import bookings_of_keys, send_keys, tier_transaction
from bookings.wishes import Held, HoldResult, Wish
from bookings.writing_later import leave_to_resolver
from ticketbook.postgres.failures import is_busy, is_lock_timeout, is_stale
from ticketbook.postgres.statements import waiting_at_most

# Milliseconds. When a batch has failed, its items are served one by one. If somebody else has locked the
# rows of one item, the items behind it must not wait for the whole LOCK_TIMEOUT_MS.
ALONE_LOCK_TIMEOUT = 200


def hold_alone(wish: Wish) -> HoldResult:
    def hold(attempts: Attempts) -> HoldResult:
        with tier_transaction(wish.ticket_tier_id) as tier:
            [answer], _ = attempts.serve(tier, [wish])
        return answer

    try:
        return once_known(hold)
    except Exception as exc:
        if not is_stale(exc):
            raise
        return once_known(hold)  # the rollback made psycopg prepare its statements anew


def settle_alone(settlement: Settlement) -> bool:
    if not settlement.returns_tickets:
        [written] = settling.write([settlement])
    else:
        with tier_transaction(settlement.booking.ticket_tier_id) as tier:
            _, [written] = tier.serve([], [settlement])
    return written


def _serve_alone(item: Wish | Settlement) -> HoldResult | bool:
    return hold_alone(item) if isinstance(item, Wish) else settle_alone(item)


class TierLane(Lane[Wish | Settlement, HoldResult | bool]):
    def __init__(self, threads: LaneThreads, tier_id: UUID) -> None:
        super().__init__(threads)
        self.tier_id = tier_id

    def __str__(self) -> str:
        return f"the lane of tier {self.tier_id}"

    def leave_behind(self, answer: HoldResult | bool) -> None:
        if isinstance(answer, Held) and not answer.replayed:
            leave_to_resolver([answer.booking])

    def serve(self, batch: Batch[Wish | Settlement, HoldResult | bool]) -> None:
        def together(attempts: Attempts) -> list[HoldResult | bool]:
            with tier_transaction(self.tier_id) as tier:
                items = batch.board()
                wishes = [item for item in items if isinstance(item, Wish)]
                settlements = [item for item in items if isinstance(item, Settlement)]
                answers, written = attempts.serve(tier, wishes, settlements)
            held, settled = iter(answers), iter(written)
            return [next(held) if isinstance(i, Wish) else next(settled) for i in items]

        try:
            answers = once_known(together)
        except Exception as exc:
            # A lock timeout after boarding comes from an item's own rows: the tier was locked already.
            if is_busy(exc) and not (batch.boarded and is_lock_timeout(exc)):
                raise
            batch.board()
            with waiting_at_most(ALONE_LOCK_TIMEOUT):
                batch.answer_one_by_one(_serve_alone)
        else:
            batch.answer(answers)


class SettlementLane(Lane[Settlement, bool]):
    def __str__(self) -> str:
        return "the lane of settlements"

    def serve(self, batch: Batch[Settlement, bool]) -> None:
        settlements = batch.board()
        try:
            batch.answer(settling.write(settlements))
        except Exception as exc:
            if is_busy(exc) and not is_lock_timeout(exc):
                raise
            with waiting_at_most(ALONE_LOCK_TIMEOUT):
                batch.answer_one_by_one(settle_alone)


class TokenLane(Lane[str, KnownCustomer | None]):
    def __str__(self) -> str:
        return "the lane of tokens"

    def serve(self, batch: Batch[str, KnownCustomer | None]) -> None:
        digests = batch.board()
        known = customers_of(digests)
        batch.answer(known.get(digest) for digest in digests)


class KeyLane(Lane[Wish, Booking | None]):
    def __str__(self) -> str:
        return "the lane of keys"

    def serve(self, batch: Batch[Wish, Booking | None]) -> None:
        wishes = batch.board()
        known = bookings_of_keys(send_keys(wishes))
        batch.answer(known.get(wish.identity) for wish in wishes)


class EventLane(Lane[Arrived | Handled, Noted | None]):
    def __str__(self) -> str:
        return "the lane of events"

    def serve(self, batch: Batch[Arrived | Handled, Noted | None]) -> None:
        items = batch.board()
        try:
            batch.answer(_write_events(items))
        except Exception as exc:
            if is_busy(exc):
                raise
            batch.answer_one_by_one(lambda item: _write_events([item])[0])


def _write_events(items: Sequence[Arrived | Handled]) -> list[Noted | None]:
    arrived = [item for item in items if isinstance(item, Arrived)]
    noted = iter(inbox.note(arrived) if arrived else [])
    inbox.mark([item for item in items if isinstance(item, Handled)])
    return [next(noted) if isinstance(item, Arrived) else None for item in items]


# Tiers have threads of their own. Otherwise the other lanes would stand still while all threads wait for
# the locks of tiers.
TIER_THREADS = LaneThreads("tier lane", settings.LANE_THREADS)
SHARED_THREADS = LaneThreads("lane", 3)
SETTLEMENTS = SettlementLane(SHARED_THREADS)
TOKENS = TokenLane(SHARED_THREADS)
KEYS = KeyLane(SHARED_THREADS)
EVENTS = EventLane(SHARED_THREADS)

MAX_LANES = 1000  # beyond that, lanes without a queue are dropped
_tier_lanes: dict[UUID, TierLane] = {}


def lane_of(tier_id: UUID) -> TierLane:
    # No lock here: if two threads made two lanes for one tier, each would wait for the tier's lock in turn.
    if lane := _tier_lanes.get(tier_id):
        return lane
    if len(_tier_lanes) >= MAX_LANES:
        _drop_empty_lanes()
    return _tier_lanes.setdefault(tier_id, TierLane(TIER_THREADS, tier_id))


def _drop_empty_lanes() -> None:
    for tier_id, lane in list(_tier_lanes.items()):
        if not lane.has_thread:
            _tier_lanes.pop(tier_id, None)


def stop() -> None:
    # Serve what waits, then end all threads with their connections. A later request starts them anew.
    for threads in (TIER_THREADS, SHARED_THREADS):
        threads.stop()
