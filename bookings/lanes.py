"""Lanes: requests for one tier that meet in this process share one transaction.

Under one hot tier a lock per request collapses: each waits for all before it, and every wait costs
more than the work. So the first one who comes leads: it takes the lock once, serves all that have
come until it had it, in the order in which they came, commits and wakes them. Whoever comes first
after that leads next, and waits for the lock while those before it commit. Nobody leads for longer
than the transaction that serves itself.

Lanes make the hold faster and nothing else: with BOOKING_LANES=off every request is a batch of one.
"""

import logging
import threading
from collections import deque
from contextlib import suppress
from enum import Enum
from uuid import UUID

from django.conf import settings

from bookings.payments import Outcome
from bookings.serving import Answer, Load, Request, Settlement, confirm, hold_and_settle
from ticketbook.database import is_busy, is_lock_timeout
from ticketbook.errors import Busy

logger = logging.getLogger(__name__)

MAX_BATCH = 64  # riders of one transaction
MAX_QUEUE = 512  # riders that have not boarded; more are told at once that we are busy
PATIENCE = 10.0  # seconds in the queue; a leader takes no longer than LOCK_TIMEOUT_MS and its batch


class Place(Enum):
    """Where a rider is."""

    QUEUE = "waits for a leader"
    LEAD = "is to lead the next transaction"
    BOARD = "is being served"
    OUT = "has been served, or is to go alone"


class Rider:
    def __init__(self, load: Request | Settlement) -> None:
        self.load = load
        self.place = Place.QUEUE
        self.woken = threading.Event()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.alone = False


class Lane:
    """The queue of one tier."""

    def __init__(self) -> None:
        self.queue: deque[Rider] = deque()
        self.led = False  # somebody waits for the tier's lock, to take the queue along
        self.at_work: set[Batch] = set()  # who has the lock, or is about to let go of it


_lanes: dict[UUID, Lane] = {}
_mutex = threading.Lock()  # held for a few instructions at a time, never while talking to anybody


def hold(request: Request) -> Answer:
    """Hold the tickets of one request, together with whoever comes at the same time.

    Raises Busy if the queue is full or the wait too long, and what the database raises.
    """
    if settings.BOOKING_LANES:
        rider = ride(request.ticket_tier_id, Rider(request))
        if not rider.alone:
            assert rider.answer is not None
            return rider.answer
    return hold_and_settle(request.ticket_tier_id, lambda: ([request], []))[0]


def settle(settlement: Settlement) -> None:
    """Settle a hold, along with whoever comes for its tier if that pays.

    To confirm needs no lock, so where nobody leads there is nothing to share. If it fails, or comes
    too late, the booking stays PENDING.
    """
    tier_id = settlement.booking.ticket_tier_id
    if settlement.outcome is Outcome.SUCCEEDED and not (
        settings.BOOKING_LANES and tier_id in _lanes
    ):
        confirm(settlement)
    elif settings.BOOKING_LANES:
        with suppress(Busy):
            ride(tier_id, Rider(settlement))


def ride(tier_id: UUID, rider: Rider) -> Rider:
    """Take the rider along: when this returns it has an answer, or is to go alone."""
    try:
        lane = join(tier_id, rider)
        if rider.place is Place.QUEUE:
            wait(lane, rider)
        if rider.place is Place.LEAD:
            lead(tier_id, lane, rider)
    finally:
        get_out(tier_id, rider)
    if rider.error is not None:
        raise Busy from rider.error
    return rider


def join(tier_id: UUID, rider: Rider) -> Lane:
    """Join the queue, as the leader if there is none."""
    with _mutex:
        lane = _lanes.setdefault(tier_id, Lane())
        if len(lane.queue) >= MAX_QUEUE:
            raise Busy
        lane.queue.append(rider)
        if not lane.led:
            rider.place = Place.LEAD
            lane.led = True
        return lane


def wait(lane: Lane, rider: Rider) -> None:
    """Until the rider is served or is to lead; Busy if neither comes to pass in time."""
    if rider.woken.wait(PATIENCE):
        return
    with _mutex:
        if rider.place is Place.QUEUE:
            rider.place = Place.OUT
            lane.queue.remove(rider)
            raise Busy
    # It is being served. Should nobody tell it how that ended, its key will find the booking.
    if not rider.woken.wait(PATIENCE):
        raise Busy


def lead(tier_id: UUID, lane: Lane, leader: Rider) -> None:
    """Serve the head of the queue, which the leader is part of."""
    batch = Batch(tier_id, lane)
    try:
        serve(tier_id, batch)
    except BaseException as exc:
        for rider in (leader, *batch.riders):
            rider.error = exc
        if not isinstance(exc, Exception):
            raise
    finally:
        batch.get_out()


class Batch:
    """Those who share a transaction. They board when the tier is locked, not before: the longer the
    wait for the lock, the more it is shared by."""

    def __init__(self, tier_id: UUID, lane: Lane) -> None:
        self.tier_id, self.lane = tier_id, lane
        self.riders: list[Rider] = []

    def board(self) -> Load:
        """Take the head of the queue along, once. The next one may wait for the lock from now on."""
        if not self.riders:
            with _mutex:
                queue = self.lane.queue
                self.lane.at_work.add(self)
                while queue and len(self.riders) < MAX_BATCH:
                    self.riders.append(queue[0])
                    queue.popleft().place = Place.BOARD
                pass_on(self.tier_id, self.lane)
        loads = [rider.load for rider in self.riders]
        return (
            [load for load in loads if isinstance(load, Request)],
            [load for load in loads if isinstance(load, Settlement)],
        )

    def get_out(self) -> None:
        for rider in self.riders:
            rider.place = Place.OUT
            rider.woken.set()
        with _mutex:
            self.lane.at_work.discard(self)
            close(self.tier_id, self.lane)

    @property
    def requests(self) -> list[Rider]:
        return [rider for rider in self.riders if isinstance(rider.load, Request)]


def serve(tier_id: UUID, batch: Batch) -> None:
    """One transaction for all. If it fails, everybody goes alone, unless the database is busy.

    A lock that was not to be had once they had boarded is one of theirs, as the tier's they had.
    """
    try:
        answers = hold_and_settle(tier_id, batch.board)
    except Exception as exc:
        boarded = bool(batch.riders)
        batch.board()  # if not yet: they all waited for the lock of the tier
        if is_busy(exc) and not (boarded and is_lock_timeout(exc)):
            raise
        logger.warning(
            "A shared transaction failed; its %d riders go alone", len(batch.riders), exc_info=exc
        )
        for rider in batch.riders:
            rider.alone = True
    else:
        for rider, answer in zip(batch.requests, answers, strict=True):
            rider.answer = answer


def pass_on(tier_id: UUID, lane: Lane) -> None:
    """Let the first in the queue lead. The caller holds the mutex."""
    lane.led = bool(lane.queue)
    if lane.led:
        lane.queue[0].place = Place.LEAD
        lane.queue[0].woken.set()
    close(tier_id, lane)


def close(tier_id: UUID, lane: Lane) -> None:
    """Forget a lane that nobody needs. The caller holds the mutex."""
    if not lane.led and not lane.at_work and _lanes.get(tier_id) is lane:
        del _lanes[tier_id]


def get_out(tier_id: UUID, rider: Rider) -> None:
    """However the ride ended: nobody may wait for this rider, and the lane must not lose its leader."""
    if rider.place is Place.OUT:
        return
    with _mutex:
        leads = rider.place is Place.LEAD
        lane = _lanes.get(tier_id)
        if lane is not None and (leads or rider.place is Place.QUEUE):
            rider.place = Place.OUT
            if rider in lane.queue:
                lane.queue.remove(rider)
            if leads:
                pass_on(tier_id, lane)
