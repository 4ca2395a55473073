"""Sets the clock of one process wrong, for chaos runs. Python imports it by itself if it is on PYTHONPATH.

CHAOS_CLOCKS names a folder. A file there that is named like the id of a process holds the seconds by which
the clock of that process is ahead (django.utils.timezone.now, by which TicketBook reads the time).
"""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

FOLDER = Path(os.environ["CHAOS_CLOCKS"])
LOOK_EVERY = 0.2  # seconds

_right_time = timezone.now
_seen: dict[int, tuple[float, timedelta]] = {}  # by process: when it was read, and what


def _wrong_time() -> datetime:
    pid, now = os.getpid(), time.monotonic()
    read_at, ahead = _seen.get(pid, (0.0, timedelta()))
    if now - read_at > LOOK_EVERY:
        try:
            ahead = timedelta(seconds=float((FOLDER / str(pid)).read_text()))
        except (OSError, ValueError):
            ahead = timedelta()
        _seen[pid] = now, ahead
    return _right_time() + ahead


timezone.now = _wrong_time
