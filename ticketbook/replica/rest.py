"""A replica that failed is left alone for a while, and the log says once what is wrong."""

import logging
from threading import Lock
from time import monotonic

SHORTEST, LONGEST = 1.0, 30.0  # seconds; each failure in a row doubles the rest

logger = logging.getLogger(__name__)


class Rest:
    """Whether this process may ask the replica, and what the log was told of it last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until = float("-inf")
        self._seconds = 0.0  # 0 while it is well
        self._said = ""
        self.failed_at = float("-inf")  # monotonic

    def may_try(self) -> bool:
        """Whether to ask it now. After a rest one request tries, and the others stay away meanwhile."""
        if not self._seconds:
            return True
        with self._lock:
            if (now := monotonic()) < self._until:
                return False
            self._until = now + self._seconds
            return True

    def failed(self, sentence: str, *, began: float) -> None:
        """What began at this time (monotonic) has failed."""
        with self._lock:
            if began < self.failed_at:
                return  # somebody else has told the same
            self._seconds = min(max(SHORTEST, 2 * self._seconds), LONGEST)
            self.failed_at = monotonic()
            self._until = self.failed_at + self._seconds
        self.say(f"{sentence} Reading from the primary.")

    def well(self) -> None:
        if self._seconds or self._said:
            self._seconds = 0.0
            self.say("")

    def say(self, sentence: str) -> None:
        """Tell the log, unless this is what it was told last. Empty: all is well again."""
        with self._lock:
            if sentence == self._said:
                return
            self._said = sentence
        logger.warning("%s", sentence or "The replica is read again.")


rest = Rest()
