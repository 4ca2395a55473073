"""Sets the clock of one process wrong, for chaos runs. Python imports it by itself if it is on PYTHONPATH.

CHAOS_CLOCKS names a folder. A file there that is named like the id of a process holds the seconds by which
the clock of that process is ahead, in time.time() and in Django's timezone.now().
"""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

FOLDER = Path(os.environ["CHAOS_CLOCKS"])
LOOK_EVERY = 0.2  # seconds

_right_now, _right_time = timezone.now, time.time
_seen: dict[int, tuple[float, float]] = {}  # by process: when its file was read, and what it said


def _ahead() -> float:
    pid, now = os.getpid(), time.monotonic()
    read_at, seconds = _seen.get(pid, (0.0, 0.0))
    if now - read_at > LOOK_EVERY:
        try:
            seconds = float((FOLDER / str(pid)).read_text())
        except (OSError, ValueError):
            seconds = 0.0
        _seen[pid] = now, seconds
    return seconds


def _now() -> datetime:
    return _right_now() + timedelta(seconds=_ahead())


def _time() -> float:
    return _right_time() + _ahead()


timezone.now, time.time = _now, _time
