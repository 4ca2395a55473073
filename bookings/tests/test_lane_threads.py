"""When a thread of a lane ends because of an error, another one takes its place."""

import asyncio

import pytest

from bookings import lanes
from bookings.lanes import Lane, LaneThreads
from ticketbook import event_loop
from ticketbook.errors import Busy


class EchoLane(Lane):
    def serve(self, batch):
        items = batch.board()
        if "poison" in items:
            raise SystemExit
        batch.answer(items)


@pytest.fixture
def lane():
    threads = LaneThreads("echo", 1)
    yield EchoLane(threads)
    threads.stop()


def ask(lane, *items):
    """Ask for all items at once; returns what each got."""

    async def all_at_once():
        return await asyncio.gather(*(lane.ask(item) for item in items), return_exceptions=True)

    return event_loop.run(all_at_once())


@pytest.fixture
def nothing_can_be_logged(monkeypatch):
    """Writing to the log raises too, so the error ends the thread."""

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(lanes.logger, "exception", fail)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_replaced(lane, nothing_can_be_logged, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_BATCH", 1)
    monkeypatch.setattr(lanes, "PATIENCE", 2.0)
    poisoned, healthy = ask(lane, "poison", "healthy")
    assert isinstance(poisoned, Busy)
    assert healthy == "healthy"
    assert ask(lane, "later") == ["later"]
    assert len(lane.threads.threads) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_control_without_the_replacement_the_lane_stands_still(
    lane, nothing_can_be_logged, monkeypatch
):
    monkeypatch.setattr(lanes, "MAX_BATCH", 1)
    monkeypatch.setattr(lanes, "PATIENCE", 0.5)
    monkeypatch.setattr(LaneThreads, "_end", lambda self: None)
    poisoned, healthy = ask(lane, "poison", "healthy")
    assert isinstance(poisoned, Busy)
    assert isinstance(healthy, Busy)
    assert isinstance(ask(lane, "later")[0], Busy)


def test_a_thread_whose_work_raises_goes_on(lane):
    poisoned, healthy = ask(lane, "poison")[0], ask(lane, "healthy")[0]
    assert isinstance(poisoned, Busy)
    assert healthy == "healthy"
    assert len(lane.threads.threads) == 1
