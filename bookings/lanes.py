"""Lanes: what waits for the same thing in this process is served together, in one transaction.

Under one hot tier a lock per booking collapses: each waits for all before it, and every wait costs
more than the work. So wishes for one tier queue in its lane. A thread locks the tier, takes along all
that have come by then, serves them in the order in which they came, commits, and wakes each of them.

A lane is served by one thread at a time. Threads come from a crew of a fixed size, so a hundred hot
tiers take turns.
"""

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import connection

from ticketbook.errors import Busy
from ticketbook.postgres.failures import drop_dead_connection, is_busy

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # items of one transaction
MAX_QUEUE = 2048  # waiters that have not boarded; more are told at once that we are busy
PATIENCE = 10.0  # seconds in the queue, and once more on board, until a waiter gives up
IDLE = 10.0  # seconds until a thread with nothing to do ends, with its connection

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Waiter(Generic[Item, Answer]):
    """An item, and the coroutine that waits for its answer."""

    __slots__ = ("answer", "boarded", "error", "future", "item", "timer")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.boarded = False
        self.timer = self.future.get_loop().call_later(PATIENCE, self.lose_patience)

    def lose_patience(self) -> None:
        """In the queue: give up, and nothing is stored. On board: it is being served, so wait once more."""
        if self.boarded:
            self.timer = self.future.get_loop().call_later(PATIENCE, self.give_up)
        else:
            self.give_up()

    def give_up(self) -> None:
        if not self.future.done():
            self.future.set_exception(Busy())

    def wake(self) -> None:
        """On the loop that it waits on. It may have gone: given up, or been cancelled."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answer)  # type: ignore[arg-type]


class Batch(Generic[Item, Answer]):
    """The waiters of one transaction. They board when the transaction has its lock, so a long wait for the
    lock makes a large batch."""

    def __init__(self, lane: "Lane[Item, Answer]") -> None:
        self.lane = lane
        self.waiters: list[Waiter[Item, Answer]] = []
        self.boarded = False

    def board(self) -> list[Item]:
        """Take the head of the queue along, once."""
        if not self.boarded:
            self.boarded = True
            self.waiters = self.lane.take()
        return [waiter.item for waiter in self.waiters]

    def answer(self, answers: Iterable[Answer]) -> None:
        """One for each item, in their order."""
        for waiter, answer in zip(self.waiters, answers, strict=True):
            waiter.answer = answer

    def answer_one_by_one(self, serve: Callable[[Item], Answer]) -> None:
        """Serve each alone, after the transaction of all has failed: one of them is the reason.

        One that has given up meanwhile was told that nothing is stored, and nothing is.
        """
        for waiter in self.waiters:
            if waiter.future.done():
                continue
            try:
                waiter.answer = serve(waiter.item)
            except Exception as exc:
                waiter.error = exc

    def fail(self, error: BaseException) -> None:
        """Nothing is written. Everybody is told, and those too who have not boarded yet."""
        self.board()
        busy = Busy()
        busy.__cause__ = error
        for waiter in self.waiters:
            if waiter.answer is None:
                waiter.error = waiter.error or busy


class Lane(ABC, Generic[Item, Answer]):
    """A queue, served in batches by one thread at a time."""

    def __init__(self, crew: "Crew") -> None:
        self.crew = crew
        self.queue: deque[Waiter[Item, Answer]] = deque()
        self.called = False  # a thread serves it, or will

    @abstractmethod
    def serve(self, batch: Batch[Item, Answer]) -> None:
        """Let the batch board, and answer it. If this raises, all of the batch get Busy."""

    async def ask(self, item: Item) -> Answer:
        """The answer to one item. Raises Busy beyond the bounds, and what serving it alone raised."""
        waiter: Waiter[Item, Answer] = Waiter(item)
        try:
            self.crew.enqueue(self, waiter)
            return await waiter.future
        except asyncio.CancelledError:
            self.leave(waiter)
            raise
        except Busy:
            self.leave(waiter)  # if it has given up
            raise
        finally:
            waiter.timer.cancel()

    def leave(self, waiter: Waiter[Item, Answer]) -> None:
        """Out of the queue. One that has boarded is served all the same, and its key finds the booking."""
        with self.crew.mutex:
            if waiter in self.queue:
                self.queue.remove(waiter)

    def take(self) -> list[Waiter[Item, Answer]]:
        most = MAX_BATCH if settings.BOOKING_LANES else 1
        with self.crew.mutex:
            waiters = [self.queue.popleft() for _ in range(min(len(self.queue), most))]
            for waiter in waiters:
                waiter.boarded = True
            return waiters

    @contextmanager
    def batch(self) -> Iterator[Batch[Item, Answer]]:
        """The next batch. However the block ends, each waiter of it gets an answer or an error."""
        batch = Batch(self)
        try:
            yield batch
        except BaseException as exc:
            if not is_busy(exc):
                logger.exception("A batch of %s failed", self)
            batch.fail(exc)
        finally:
            wake(batch.waiters)


def wake(waiters: Sequence[Waiter[Any, Any]]) -> None:
    """Each on the loop that it waits on; a loop that has ended has nobody left who waits."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiter[Any, Any]]] = {}
    for waiter in waiters:
        loops.setdefault(waiter.future.get_loop(), []).append(waiter)
    for loop, its_waiters in loops.items():
        try:
            loop.call_soon_threadsafe(_wake_here, its_waiters)
        except RuntimeError:
            logger.warning("%d waiters went with their event loop", len(its_waiters))


def _wake_here(waiters: list[Waiter[Any, Any]]) -> None:
    for waiter in waiters:
        try:
            waiter.wake()
        except Exception:  # the others must not go without theirs
            logger.exception("A waiter could not be woken")


class Crew:
    """Threads that serve lanes in turn. They start when there is work, and end when there is none."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.mutex = threading.Condition()  # held for a few instructions at a time
        self.ready: deque[Lane[Any, Any]] = deque()  # lanes with a queue that no thread serves
        self.threads: set[threading.Thread] = set()
        self.idle = 0
        self.stopping = False

    def enqueue(self, lane: Lane[Any, Any], waiter: Waiter[Any, Any]) -> None:
        """Put the waiter into the lane's queue. Raises Busy if that is full."""
        with self.mutex:
            if len(lane.queue) >= MAX_QUEUE:
                raise Busy
            if not lane.called:
                self._call(lane)
            lane.queue.append(waiter)

    def _call(self, lane: Lane[Any, Any]) -> None:
        if self.idle <= len(self.ready) and len(self.threads) < self.size:
            self._start_thread()
        lane.called = True
        self.ready.append(lane)
        self.mutex.notify()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self.threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self.threads.discard(thread)
            raise

    def _work(self) -> None:
        try:
            while (lane := self._next()) is not None:
                try:
                    with lane.batch() as batch:
                        drop_dead_connection()
                        lane.serve(batch)
                except BaseException:  # a thread that ends must not take the lane along
                    logger.exception("%s could not be served", lane)
                finally:
                    self._done_with(lane)
        finally:
            connection.close()

    def _next(self) -> Lane[Any, Any] | None:
        """The next lane with a queue, or None if this thread shall end."""
        with self.mutex:
            self.idle += 1
            try:
                found = self.mutex.wait_for(lambda: self.ready or self.stopping, IDLE)
                if found and self.ready:
                    return self.ready.popleft()
                self.threads.discard(threading.current_thread())
                return None
            finally:
                self.idle -= 1

    def _done_with(self, lane: Lane[Any, Any]) -> None:
        """Behind the other lanes if it has a queue again."""
        with self.mutex:
            lane.called = bool(lane.queue)
            if lane.called:
                self.ready.append(lane)
                self.mutex.notify()

    def stop(self) -> None:
        """Serve what waits, then end the threads; a later call starts them anew."""
        with self.mutex:
            self.stopping = True
            self.mutex.notify_all()
            threads = list(self.threads)
        for thread in threads:
            thread.join(PATIENCE)
        self.stopping = False
