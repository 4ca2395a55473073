"""What many ask for at once is read once a second, and for a few it is read anew each time.

    copy = fresh(key, make)

Three promises. What a copy says was read at most MAX_AGE before the request came. While few ask, each
is answered anew: who has just booked, on a quiet site, sees the new number at once. And however many
ask for what has run out, one of them reads it; with a cache server, one of all processes.

Nothing that decides may read here: a booking reads the locked row.
"""

import hashlib
import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Event, Lock
from time import monotonic, sleep, time
from typing import Any, NamedTuple

from ticketbook import cache_server

MAX_AGE = 1.0  # seconds, from before the reading began
AHEAD = 0.2  # so long before its end one of those who ask makes the next; the others need not wait
QUIET = 10  # so many requests for a key in a second are each answered anew

# Anybody can make up keys. Only what more than QUIET ask for takes more room than its key.
MOST_KEYS = 1000
MOST_BYTES = 32 * 1024 * 1024

# While another process reads: how often we look whether it is done, before we read for ourselves.
LOOKS = 20
BETWEEN_LOOKS = 0.01  # seconds

FORGOTTEN = "fresh:forgotten"  # the cache server's: what was read before this time is out of date


@dataclass(frozen=True, slots=True)
class Copy:
    """An answer to be given many times: its headers and body, and texts of the body that stand for
    something of each visitor's own, by name."""

    head: dict[str, str]
    body: bytes
    holes: dict[str, str] = field(default_factory=dict)


class Kept(NamedTuple):
    copy: Copy
    until: float  # monotonic


NOTHING = Kept(Copy({}, b""), until=0.0)


@dataclass(slots=True, eq=False)
class Reading:
    """Somebody is making the copy; `copy` stays None if that fails."""

    began: float
    done: Event = field(default_factory=Event)
    copy: Copy | None = None


class Place:
    """What this process knows of one key."""

    __slots__ = ("asked", "kept", "reading", "since", "was_busy")

    def __init__(self, now: float) -> None:
        self.since, self.asked, self.was_busy = now, 0, False
        self.kept = NOTHING
        self.reading: Reading | None = None

    def ask(self, now: float) -> bool:
        """Count one more request; whether there are so many that a copy has to serve them."""
        if now >= self.since + 1:
            with _lock:
                if now >= self.since + 1:
                    self.was_busy = self.asked > QUIET and now < self.since + 2
                    self.since, self.asked = now, 0
        self.asked += 1
        return self.is_busy

    def serves(self, now: float) -> bool:
        """Whether the copy will do: it is young, or somebody makes the next one already."""
        until = self.kept.until
        return now < (until if self.reading else until - AHEAD)

    @property
    def is_busy(self) -> bool:
        # Busy in the last second counts, or every second of a rush would begin with QUIET readings.
        return self.was_busy or self.asked > QUIET


_places: dict[Hashable, Place] = {}
_lock = Lock()  # of the places and their readings; nobody does anything slow under it


def fresh(key: Hashable, make: Callable[[], Copy]) -> Copy:
    """A copy for this key, made by `make` now, or within MAX_AGE for others who asked too.

    What `make` raises goes to the caller whose `make` it was; those who waited for it try their own.
    """
    now = monotonic()
    place = _places.get(key) or _new_place(key, now)
    busy = place.ask(now)
    if busy and place.serves(now):
        return place.kept.copy
    return _read_together(place, key, make, busy=busy, now=now)


def young(key: Hashable) -> Copy | None:
    """The copy for this key if `fresh` would answer with it, without making one."""
    place = _places.get(key)
    if place is None:
        return None
    now = monotonic()
    if place.ask(now) and place.serves(now):
        return place.kept.copy
    place.asked -= 1  # `fresh` will count this request
    return None


def forget() -> None:
    """What was read until now is out of date. Other processes hear of it from the cache server, and
    without one within MAX_AGE."""
    with _lock:
        _places.clear()  # whoever reads now, reads for a place that nobody will look at
    cache_server.write(FORGOTTEN, time(), seconds=60)


def _read_together(
    place: Place, key: Hashable, make: Callable[[], Copy], *, busy: bool, now: float
) -> Copy:
    """Join the reading that is under way; if there is none, or it is too old, begin one."""
    with _lock:
        if busy and place.serves(now):  # somebody has begun, or is done, since we looked
            return place.kept.copy
        reading = place.reading
        begins = reading is None or reading.began + MAX_AGE <= now
        if reading is None or begins:
            reading = place.reading = Reading(began=now)
    if begins:
        return _read(place, reading, key, make, busy=busy)
    reading.done.wait(reading.began + MAX_AGE - now)
    return reading.copy or make()


def _read(
    place: Place, reading: Reading, key: Hashable, make: Callable[[], Copy], *, busy: bool
) -> Copy:
    try:
        if not busy:
            reading.copy = make()
        else:
            kept = _from_another_process_or(make, name=_name(key))
            reading.copy = kept.copy
            _keep(place, kept)
        return reading.copy
    finally:
        with _lock:
            if place.reading is reading:
                place.reading = None
        reading.done.set()


def _from_another_process_or(make: Callable[[], Copy], *, name: str) -> Kept:
    """Ask the cache server; make the copy for all if it has none and nobody else is making it."""
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
        cache_server.write(name, _to_wire(read_at, copy), seconds=2)
        return Kept(copy, began + MAX_AGE)
    finally:
        if ours:
            cache_server.release(f"{name}:claim")


def _found(name: str) -> Kept | None:
    answers = cache_server.read(name, FORGOTTEN)
    try:
        read_at, copy = _from_wire(answers[name])
        left = read_at + MAX_AGE - time()
        # A clock that goes before ours must not make a copy last longer.
        if read_at > answers.get(FORGOTTEN, 0) and AHEAD < left <= MAX_AGE:
            return Kept(copy, monotonic() + left)
    except (KeyError, TypeError, ValueError, AttributeError):  # nothing, or nothing of ours
        pass
    return None


def _to_wire(read_at: float, copy: Copy) -> bytes:
    return json.dumps([read_at, copy.head, copy.holes]).encode() + b"\n" + copy.body


def _from_wire(raw: Any) -> tuple[float, Copy]:
    """Raises TypeError, ValueError or AttributeError on what _to_wire did not write."""
    label, _, body = raw.partition(b"\n")
    read_at, head, holes = json.loads(label)
    words = [word for pair in (*head.items(), *holes.items()) for word in pair]
    if not all(isinstance(word, str) and word.isprintable() for word in words):
        raise TypeError(words)
    return read_at + 0.0, Copy(head, body, holes)


def _name(key: Hashable) -> str:
    return f"fresh:{hashlib.sha256(repr(key).encode()).hexdigest()}"


def _new_place(key: Hashable, now: float) -> Place:
    with _lock:
        if len(_places) >= MOST_KEYS:
            _make_room(now)
        return _places.setdefault(key, Place(now))


def _keep(place: Place, kept: Kept) -> None:
    with _lock:
        place.kept = kept
        if _bytes(_places) > MOST_BYTES:
            _make_room(monotonic())


def _make_room(now: float) -> None:
    """Leave the places that are in demand; all go if that is not enough."""
    wanted = {
        key: place for key, place in _places.items() if place.is_busy and now < place.since + 2
    }
    _places.clear()
    if len(wanted) < MOST_KEYS and _bytes(wanted) <= MOST_BYTES:
        _places.update(wanted)


def _bytes(places: dict[Hashable, Place]) -> int:
    return sum(len(place.kept.copy.body) for place in places.values())
