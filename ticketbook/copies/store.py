"""Copies of responses: what many ask for at once is read once a second.

    copy = copy_of(key, make)

- A copy says what was read at most MAX_AGE before the request came.
- While few ask for a key, each of them gets a new reading, or shares one that is under way. So on a quiet
  site the buyer who has just booked sees the new number at once.
- When a copy has expired, one request renews it and the others wait for that one. With a cache server
  one process renews it for all.

No booking is decided from a copy.
"""

import hashlib
import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Event, Lock
from time import monotonic, sleep, time
from typing import Any, NamedTuple

from ticketbook.copies import cache_server
from ticketbook.replica.lag import marks

MAX_AGE = 1.0  # seconds, from before the reading began
RENEW_AHEAD = 0.2  # seconds before its end, so that nobody has to wait for the next copy
QUIET = 10  # requests for a key in a second; up to so many each get a new reading

# Anybody can make up keys (query strings), so their number and their bytes are limited. A key that few ask
# for has no copy.
MOST_KEYS = 1000
MOST_BYTES = 32 * 1024 * 1024

# While another process reads, we look this often whether it is done, and then read for ourselves.
LOOKS = 20
BETWEEN_LOOKS = 0.01  # seconds

FORGOTTEN = "copies:forgotten"  # on the cache server: copies read before this time are out of date


@dataclass(frozen=True, slots=True)
class Copy:
    """A response to be sent many times. Its placeholders are texts in the body, by name, that are
    replaced for each visitor."""

    head: dict[str, str]
    body: bytes
    placeholders: dict[str, str] = field(default_factory=dict)


class Kept(NamedTuple):
    copy: Copy
    until: float  # monotonic


NOTHING = Kept(Copy({}, b""), until=0.0)


@dataclass(slots=True, eq=False)
class Reading:
    """A request is making the copy. `copy` stays None if it fails."""

    began: float
    done: Event = field(default_factory=Event)
    copy: Copy | None = None


class Entry:
    """What this process knows about one key."""

    __slots__ = ("asked", "handed", "kept", "reading", "since", "was_busy")

    def __init__(self, now: float) -> None:
        self.since, self.asked, self.was_busy = now, 0, False
        self.handed = -MAX_AGE  # when the event loop last sent a request to a thread to make a copy
        self.kept = NOTHING
        self.reading: Reading | None = None

    def ask(self, now: float) -> bool:
        """Count one request; return whether there are so many that a copy has to serve them."""
        if now >= self.since + 1:
            with _lock:
                if now >= self.since + 1:
                    self.was_busy = self.asked > QUIET and now < self.since + 2
                    self.since, self.asked = now, 0
        self.asked += 1
        return self.is_busy

    def serves(self, now: float) -> bool:
        until = self.kept.until
        if self.reading is None:  # this request will make the next copy, ahead of time
            until -= RENEW_AHEAD
        return now < until

    @property
    def is_busy(self) -> bool:
        # The last second counts too, or every second of a rush would begin with QUIET readings.
        return self.was_busy or self.asked > QUIET


_entries: dict[Hashable, Entry] = {}
_lock = Lock()  # guards the entries and their readings; nothing slow happens under it


def copy_of(key: Hashable, make: Callable[[], Copy]) -> Copy:
    """A copy for this key: made by `make` now, or by another request within MAX_AGE.

    What `make` raises goes to its own caller. Requests that waited for that reading make their own.
    """
    now = monotonic()
    entry = _entries.get(key) or _new_entry(key, now)
    busy = entry.ask(now)
    if busy and entry.serves(now):
        return entry.kept.copy
    return _read_together(entry, key, make, busy=busy, now=now)


class BeingRead(Exception):
    """Another request is on its way to make this copy."""


def young_copy(key: Hashable) -> Copy | None:
    """The copy that `copy_of` would return without a reading; None if this request has to read.

    While many ask, one request reads. The others get the copy that there is; if it has expired, this raises
    BeingRead, and they may ask again a moment later. Otherwise they would all wait on threads.
    """
    entry = _entries.get(key)
    if entry is None:
        return None
    now = monotonic()
    busy, handed = entry.ask(now), now < entry.handed + MAX_AGE
    if busy and (entry.serves(now) or (handed and now < entry.kept.until)):
        return entry.kept.copy
    entry.asked -= 1  # `copy_of` will count this request, or it will ask again
    if busy and handed:
        raise BeingRead
    if entry.kept is not NOTHING:  # what has no copy may be an address that is not copied
        entry.handed = now
    return None


def forget() -> None:
    """Drop all copies, because staff changed something.

    Other processes see the change at their next look at the cache server, and within MAX_AGE anyway (later by
    REPLICA_MAX_LAG at most, if there is a replica).
    """
    marks.show_what_is_committed()
    with _lock:
        _entries.clear()  # a reading in progress updates an entry that is no longer used
    cache_server.write(FORGOTTEN, time(), seconds=60)


def _read_together(
    entry: Entry, key: Hashable, make: Callable[[], Copy], *, busy: bool, now: float
) -> Copy:
    with _lock:
        if busy and entry.serves(now):  # another request has renewed it since we looked
            return entry.kept.copy
        reading = entry.reading
        begins = reading is None or reading.began + MAX_AGE <= now
        if reading is None or begins:
            reading = entry.reading = Reading(began=now)
    if begins:
        return _read(entry, reading, key, make, busy=busy)
    reading.done.wait(reading.began + MAX_AGE - now)
    return reading.copy or make()


def _read(
    entry: Entry, reading: Reading, key: Hashable, make: Callable[[], Copy], *, busy: bool
) -> Copy:
    try:
        if not busy:
            reading.copy = make()
        else:
            kept = _from_another_process_or(make, name=_name(key))
            reading.copy = kept.copy
            _keep(entry, kept)
        return reading.copy
    finally:
        with _lock:
            if entry.reading is reading:
                entry.reading, entry.handed = None, -MAX_AGE
            if reading.copy is None and entry.kept.until <= monotonic():
                entry.kept = NOTHING  # it failed, so the others read for themselves
        reading.done.set()


def _from_another_process_or(make: Callable[[], Copy], *, name: str) -> Kept:
    ours = False
    for _ in range(LOOKS):
        if kept := _found(name):
            return kept
        if ours := cache_server.claim(f"{name}:claim", seconds=1):
            break
        sleep(BETWEEN_LOOKS)
    try:
        began, read_at = monotonic(), time()
        copy = make()
        cache_server.write(name, _encoded(read_at, copy), seconds=2)
        return Kept(copy, began + MAX_AGE)
    finally:
        if ours:
            cache_server.release(f"{name}:claim")


def _found(name: str) -> Kept | None:
    answers = cache_server.read(name, FORGOTTEN)
    try:
        read_at, copy = _decoded(answers[name])
        left = read_at + MAX_AGE - time()
        # The clock of a machine that runs ahead of ours must not make a copy last longer.
        if read_at > answers.get(FORGOTTEN, 0) and RENEW_AHEAD < left <= MAX_AGE:
            return Kept(copy, monotonic() + left)
    except (KeyError, TypeError, ValueError, AttributeError):  # it is missing, or not ours
        pass
    return None


def _encoded(read_at: float, copy: Copy) -> bytes:
    return json.dumps([read_at, copy.head, copy.placeholders]).encode() + b"\n" + copy.body


def _decoded(raw: Any) -> tuple[float, Copy]:
    """Raises TypeError, ValueError or AttributeError for anything that _encoded did not make."""
    label, _, body = raw.partition(b"\n")
    read_at, head, placeholders = json.loads(label)
    words = [word for pair in (*head.items(), *placeholders.items()) for word in pair]
    if not all(isinstance(word, str) and word.isprintable() for word in words):
        raise TypeError(words)
    return read_at + 0.0, Copy(head, body, placeholders)


def _name(key: Hashable) -> str:
    return f"copies:{hashlib.sha256(repr(key).encode()).hexdigest()}"


def _new_entry(key: Hashable, now: float) -> Entry:
    with _lock:
        if len(_entries) >= MOST_KEYS:
            _make_room(now)
        return _entries.setdefault(key, Entry(now))


def _keep(entry: Entry, kept: Kept) -> None:
    with _lock:
        entry.kept = kept
        if _bytes(_entries) > MOST_BYTES:
            _make_room(monotonic())


def _make_room(now: float) -> None:
    # Keep only the entries in demand, or nothing if that is not enough.
    wanted = {
        key: entry for key, entry in _entries.items() if entry.is_busy and now < entry.since + 2
    }
    _entries.clear()
    if len(wanted) < MOST_KEYS and _bytes(wanted) <= MOST_BYTES:
        _entries.update(wanted)


def _bytes(entries: dict[Hashable, Entry]) -> int:
    return sum(len(entry.kept.copy.body) for entry in entries.values())
