"""Lanes: requests that wait for the same thing are served together, in one transaction.

If each booking took the tier's lock by itself, a hot tier would collapse: the more requests wait for the
lock, the more each wait costs. So the wishes for one tier queue in its lane. A thread opens a
transaction, waits for the tier's lock, takes along all wishes that have come by then (they *board*),
serves them in the order in which they came, commits, and wakes each of them.

One thread at a time serves a lane. Their number is limited (`LaneThreads`). When more tiers are hot than
there are threads, the lanes take turns.
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
from ticketbook.postgres.failures import drop_dead_connection, is_busy, log_if_broken

logger = logging.getLogger(__name__)

MAX_BATCH = 256  # items in one transaction
MAX_QUEUE = 2048  # waiters that have not boarded; further ones get Busy at once
PATIENCE = 10.0  # seconds that a waiter waits in the queue, and again after boarding
IDLE = 10.0  # seconds without work after which a thread ends, and its connection closes

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Waiter(Generic[Item, Answer]):
    """An item, and the coroutine that waits for its answer."""

    __slots__ = ("answer", "boarded", "error", "future", "item", "lane", "timer")

    def __init__(self, lane: "Lane[Item, Answer]", item: Item) -> None:
        self.lane, self.item = lane, item
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.boarded = False
        self.timer = self.future.get_loop().call_later(PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        # A waiter that has boarded is being served right now, so it waits once more. One that is still
        # in the queue gives up, and nothing is stored for it.
        if self.boarded:
            self.timer = self.future.get_loop().call_later(PATIENCE, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if not self.future.done():
            self.future.set_exception(Busy())

    def wake(self) -> None:
        # Called on the waiter's own event loop.
        if self.future.done():  # it gave up, or its task was cancelled
            if self.answer is not None:
                self.lane.leave_behind(self.answer)
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answer)  # type: ignore[arg-type]


class Batch(Generic[Item, Answer]):
    """The waiters that one transaction serves.

    They board when the transaction has its lock. So the longer the wait for the lock, the more of them
    share the transaction.
    """

    def __init__(self, lane: "Lane[Item, Answer]") -> None:
        self.lane = lane
        self.waiters: list[Waiter[Item, Answer]] = []
        self.boarded = False

    def board(self) -> list[Item]:
        """Take the first waiters from the queue; a second call returns the same items."""
        if not self.boarded:
            self.boarded = True
            self.waiters = self.lane.take()
        return [waiter.item for waiter in self.waiters]

    def answer(self, answers: Iterable[Answer]) -> None:
        for waiter, answer in zip(self.waiters, answers, strict=True):
            waiter.answer = answer

    def answer_one_by_one(self, serve: Callable[[Item], Answer]) -> None:
        """Serve each item alone, because one of them has made the shared transaction fail."""
        for waiter in self.waiters:
            if waiter.future.done():  # it gave up or was cancelled meanwhile: store nothing for it
                continue
            try:
                waiter.answer = serve(waiter.item)
            except Exception as exc:
                waiter.error = exc

    def fail(self, error: BaseException) -> None:
        """Give Busy to every waiter that has neither an answer nor an error yet.

        If the error came before boarding, the first waiters of the queue board now and get it too.
        """
        self.board()
        busy = Busy()
        busy.__cause__ = error
        for waiter in self.waiters:
            if waiter.answer is None:
                waiter.error = waiter.error or busy


class Lane(ABC, Generic[Item, Answer]):
    """A queue that one thread at a time serves, batch by batch."""

    def __init__(self, threads: "LaneThreads") -> None:
        self.threads = threads
        self.queue: deque[Waiter[Item, Answer]] = deque()
        self.has_thread = False  # a thread serves this lane, or has been called to

    @abstractmethod
    def serve(self, batch: Batch[Item, Answer]) -> None:
        """Let the batch board and answer it. If this raises, waiters without an answer get Busy."""

    def leave_behind(self, answer: Answer) -> None:
        """An answer whose waiter has gone. On the waiter's event loop."""

    async def ask(self, item: Item) -> Answer:
        """The answer to one item.

        Raises Busy if the queue is full or the wait is too long, and what serving the item raised.
        """
        waiter: Waiter[Item, Answer] = Waiter(self, item)
        try:
            self.threads.enqueue(self, waiter)
            return await waiter.future
        except (asyncio.CancelledError, Busy):
            self._leave(waiter)
            raise
        finally:
            waiter.timer.cancel()

    def _leave(self, waiter: Waiter[Item, Answer]) -> None:
        # A waiter that has boarded is no longer in the queue. It may still be served, and then a later
        # request with the same key finds its booking.
        with self.threads.mutex:
            if waiter in self.queue:
                self.queue.remove(waiter)

    def take(self) -> list[Waiter[Item, Answer]]:
        most = MAX_BATCH if settings.BOOKING_LANES else 1
        with self.threads.mutex:
            waiters = [self.queue.popleft() for _ in range(min(len(self.queue), most))]
            for waiter in waiters:
                waiter.boarded = True
            return waiters

    @contextmanager
    def batch(self) -> Iterator[Batch[Item, Answer]]:
        """The next batch. However the block ends, each of its waiters gets an answer or an error.

        (If even waking them fails, they get Busy when their PATIENCE is over.)
        """
        batch = Batch(self)
        try:
            yield batch
        except BaseException as exc:
            batch.fail(exc)
            log_if_broken(exc)
            if not is_busy(exc):
                logger.exception("A batch of %s failed", self)
        finally:
            _wake(batch.waiters)


def _wake(waiters: Sequence[Waiter[Any, Any]]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Waiter[Any, Any]]] = {}
    for waiter in waiters:
        loops.setdefault(waiter.future.get_loop(), []).append(waiter)
    for loop, its_waiters in loops.items():
        try:
            loop.call_soon_threadsafe(_wake_on_loop, its_waiters)
        except RuntimeError:  # the loop has ended, so nobody waits on it any more
            logger.warning("%d waiters ended with their event loop", len(its_waiters))


def _wake_on_loop(waiters: list[Waiter[Any, Any]]) -> None:
    for waiter in waiters:
        try:
            waiter.wake()
        except Exception:  # wake the others all the same
            logger.exception("A waiter could not be woken")


class LaneThreads:
    """Up to `size` threads that serve lanes in turn.

    A thread starts when there is work for it and ends when there is none.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.mutex = threading.Condition()  # held for a few instructions at a time
        self.ready: deque[Lane[Any, Any]] = deque()  # lanes with waiters that no thread serves yet
        self.threads: set[threading.Thread] = set()
        self.idle = 0
        self.stopping = False

    def enqueue(self, lane: Lane[Any, Any], waiter: Waiter[Any, Any]) -> None:
        """Put the waiter into the lane's queue; raises Busy if it is full."""
        with self.mutex:
            if len(lane.queue) >= MAX_QUEUE:
                raise Busy
            if not lane.has_thread:
                self._call_thread_for(lane)
            lane.queue.append(waiter)

    def _call_thread_for(self, lane: Lane[Any, Any]) -> None:
        # Every lane in `ready` takes one of the idle threads.
        if self.idle <= len(self.ready) and len(self.threads) < self.size:
            self._start_thread()
        lane.has_thread = True
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
                self._serve(lane)
        finally:
            self._end()
            connection.close()

    def _serve(self, lane: Lane[Any, Any]) -> None:
        try:
            with lane.batch() as batch:
                drop_dead_connection()
                lane.serve(batch)
        except BaseException:
            # Whatever serving raised, this thread goes on to the next lane.
            logger.exception("%s could not be served", lane)
        finally:
            self._done_with(lane)

    def _end(self) -> None:
        # If not even the error could be logged, this thread ends while lanes wait for one. Another thread
        # takes its place.
        with self.mutex:
            self.threads.discard(threading.current_thread())
            if self.idle < len(self.ready) and not self.stopping:
                self._start_thread()

    def _next(self) -> Lane[Any, Any] | None:
        """The next lane with waiters, or None if this thread should end."""
        with self.mutex:
            self.idle += 1
            try:
                found = self.mutex.wait_for(lambda: self.ready or self.stopping, IDLE)
                if found and self.ready:
                    return self.ready.popleft()
                # From now on, a lane with waiters starts a new thread.
                self.threads.discard(threading.current_thread())
                return None
            finally:
                self.idle -= 1

    def _done_with(self, lane: Lane[Any, Any]) -> None:
        # A lane that has waiters again goes to the end of the line, behind the other lanes.
        with self.mutex:
            lane.has_thread = bool(lane.queue)
            if lane.has_thread:
                self.ready.append(lane)
                self.mutex.notify()

    def stop(self) -> None:
        """Serve what waits, then end the threads. A later call starts them anew."""
        with self.mutex:
            self.stopping = True
            self.mutex.notify_all()
            threads = list(self.threads)
        for thread in threads:
            thread.join(PATIENCE)
        self.stopping = False
