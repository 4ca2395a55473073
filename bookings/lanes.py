"""Lanes: requests for one tier that meet in this process share one transaction.

Under one hot tier a lock per request collapses: each waits for all before it, and every wait costs
more than the work. So the first one who comes leads: it takes the lock once, serves all that have
come meanwhile, in the order in which they came, commits and wakes them. Whoever is first in the queue
by then leads next. Nobody leads for longer than the transaction that serves itself.

Lanes make the hold faster and nothing else: with BOOKING_LANES=off every request is a batch of one.
"""

import logging
import threading
from collections import deque
from contextlib import suppress
from enum import Enum
from uuid import UUID

from django.conf import settings

from bookings.serving import Answer, Request, Settlement, hold_and_settle
from ticketbook.database import is_busy
from ticketbook.errors import Busy

logger = logging.getLogger(__name__)

MAX_BATCH = 64  # riders of one transaction
MAX_QUEUE = 512  # riders that wait; more are told at once that we are busy
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
    """The queue of one tier, and whether somebody leads."""

    def __init__(self) -> None:
        self.queue: deque[Rider] = deque()
        self.led = False


_lanes: dict[UUID, Lane] = {}
_mutex = threading.Lock()  # held for a few instructions at a time, never while talking to anybody


def hold(request: Request) -> Answer:
    """Hold the tickets of one request, together with whoever comes at the same time.

    Raises Busy if the queue is full or the wait too long, and what the database raises.
    """
    if not settings.BOOKING_LANES:
        return hold_and_settle(request.ticket_tier_id, [request])[0]
    rider = ride(request.ticket_tier_id, Rider(request))
    if rider.alone:
        return hold_and_settle(request.ticket_tier_id, [request])[0]
    assert rider.answer is not None
    return rider.answer


def settle(settlement: Settlement) -> None:
    """Settle a hold along with whoever comes for its tier. If that fails, its booking stays PENDING."""
    if settings.BOOKING_LANES:
        with suppress(Busy):
            ride(settlement.booking.ticket_tier_id, Rider(settlement))


def ride(tier_id: UUID, rider: Rider) -> Rider:
    """Take the rider along: when this returns it has an answer, or is to go alone."""
    lane = board(tier_id, rider)
    try:
        if rider.place is Place.QUEUE:
            wait(lane, rider)
        if rider.place is Place.LEAD:
            lead(tier_id, lane)
    except BaseException:
        get_out(tier_id, lane, rider)
        raise
    if rider.error is not None:
        raise Busy from rider.error
    return rider


def board(tier_id: UUID, rider: Rider) -> Lane:
    """Join the queue, as the leader if there is none."""
    with _mutex:
        lane = _lanes.setdefault(tier_id, Lane())
        if len(lane.queue) >= MAX_QUEUE:
            raise Busy
        lane.queue.append(rider)
        if not lane.led:
            lane.led = True
            rider.place = Place.LEAD
        return lane


def wait(lane: Lane, rider: Rider) -> None:
    """Until the rider is served or is to lead; Busy if neither comes to pass in time."""
    if rider.woken.wait(PATIENCE):
        return
    with _mutex:
        if rider.place is Place.QUEUE:
            lane.queue.remove(rider)
            raise Busy
    rider.woken.wait()  # its leader is at work, and tells it in any case


def lead(tier_id: UUID, lane: Lane) -> None:
    """Serve the head of the queue, which the leader is part of, then let the next one lead."""
    with _mutex:
        batch = [lane.queue.popleft() for _ in range(min(len(lane.queue), MAX_BATCH))]
        for rider in batch:
            rider.place = Place.BOARD
    try:
        serve(tier_id, batch)
    except BaseException as exc:
        for rider in batch:
            rider.error = exc
        if not isinstance(exc, Exception):
            raise
    finally:
        pass_on(tier_id, lane)
        for rider in batch:
            rider.place = Place.OUT
            rider.woken.set()


def serve(tier_id: UUID, batch: list[Rider]) -> None:
    """One transaction for all. If it fails for anything but being busy, everybody goes alone."""
    requests = [r for r in batch if isinstance(r.load, Request)]
    settlements = [r.load for r in batch if isinstance(r.load, Settlement)]
    try:
        answers = hold_and_settle(tier_id, [r.load for r in requests], settlements)  # type: ignore[misc]
    except Exception as exc:
        if is_busy(exc):
            raise
        logger.warning(
            "A shared transaction failed; its %d riders go alone", len(batch), exc_info=exc
        )
        for rider in batch:
            rider.alone = True
    else:
        for rider, answer in zip(requests, answers, strict=True):
            rider.answer = answer


def pass_on(tier_id: UUID, lane: Lane) -> None:
    """Let the first in the queue lead, or close the lane."""
    with _mutex:
        if lane.queue:
            lane.queue[0].place = Place.LEAD
            lane.queue[0].woken.set()
        else:
            lane.led = False
            _lanes.pop(tier_id, None)


def get_out(tier_id: UUID, lane: Lane, rider: Rider) -> None:
    """A rider's thread is interrupted: nobody may wait for it, and the lane must not lose its leader."""
    with _mutex:
        waiting = rider in lane.queue
        if waiting:
            lane.queue.remove(rider)
    if waiting and rider.place is Place.LEAD:
        pass_on(tier_id, lane)
