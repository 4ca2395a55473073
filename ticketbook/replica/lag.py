"""How far a replica is behind, without a clock and without writing anything.

Now and then a process asks the primary how far its log (WAL) has been written. This makes a `Mark`: whatever
was committed before the question is in the log up to there. A replica that has replayed the log up to a mark
is therefore not behind by more than the mark's age. So neither an idle primary makes a replica look late, nor
does a replica that was cut off, and has replayed all that it got, look fresh.

All times here are this process' monotonic clock.
"""

from collections import deque
from threading import Lock
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.db import connection

LOOKS = 4  # so often a replica and the primary are asked in the longest lag that is allowed, or once a second


class Cluster(NamedTuple):
    """Which data a server has. Those of a replica are the same as its primary's."""

    system: int
    database: int


class Mark(NamedTuple):
    at: float
    wal: int  # bytes since the beginning of the log
    cluster: Cluster
    breaks_off: bool = False  # more of the log is in memory, so its end may be half a record


WHICH = (
    "(SELECT system_identifier FROM pg_control_system()),"
    " (SELECT oid::int8 FROM pg_database WHERE datname = current_database())"
)
# It fails on a server that has been demoted. What is not flushed was acknowledged to nobody.
HOW_FAR = (
    f"SELECT {WHICH}, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8,"
    " pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()"
)
# A message to nobody. It makes the primary write out what it has in memory.
WRITE_OUT = "SELECT pg_logical_emit_message(false, 'ticketbook', '', true)"


class Marks:
    """The marks of this process, and whether what a reader sees must be newer still."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()  # all of the allowed lag, and one that is older
        self._lock = Lock()
        self._not_before = float("-inf")

    def ask(self, *, unless_since: float = float("inf")) -> Mark:
        """A new mark, or the newest one if it was made at this time or later.

        Raises DatabaseError if there is no primary that takes writes.
        """
        newest = self._marks[-1] if self._marks else None
        if newest is not None and newest.at >= unless_since:
            return newest
        at = monotonic()
        with connection.cursor() as cursor:
            cursor.execute(HOW_FAR)
            system, database, wal, breaks_off = cursor.fetchone()
            mark = Mark(at, wal, Cluster(system, database), breaks_off)
            if newest is not None and breaks_off and newest.wal == wal:
                # Nobody commits, so the end of the log would not reach a replica for up to 15 seconds.
                cursor.execute(WRITE_OUT)
        self.add(mark)
        return mark

    def add(self, mark: Mark) -> None:
        with self._lock:
            self._marks.append(mark)
            while len(self._marks) > 1 and self._marks[1].at < mark.at - settings.REPLICA_MAX_LAG:
                self._marks.popleft()

    def covered(self, wal: int) -> float:
        """The last time whose state a replica has that has replayed so much; -inf if nobody knows."""
        with self._lock:
            return max((mark.at for mark in self._marks if mark.wal <= wal), default=float("-inf"))

    def is_late(self, wal: int, now: float) -> bool:
        """Whether a replica that has replayed so much is surely behind by more than the allowed lag."""
        with self._lock:
            old = [mark for mark in self._marks if mark.at <= now - settings.REPLICA_MAX_LAG]
            return any(mark.wal > wal and not self._waits_for_more(mark) for mark in old)

    def _waits_for_more(self, mark: Mark) -> bool:
        # Nothing was committed since, so the primary kept the rest of the log's last record until now.
        return mark.breaks_off and mark.wal == self._marks[-1].wal

    def needed(self, now: float) -> float:
        """Readers may see the state of this time or a later one."""
        return max(now - settings.REPLICA_MAX_LAG, self._not_before)

    def show_what_is_committed(self) -> None:
        """From here on this process shows nothing that is older than this moment."""
        self._not_before = monotonic()


def between_looks() -> float:
    """Seconds."""
    longest: float = settings.REPLICA_MAX_LAG
    return min(longest / LOOKS, 1.0)


marks = Marks()
