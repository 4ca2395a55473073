"""Copies: at most a second old, new while few ask, and read by one for all who meet."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from ticketbook.copies import store
from ticketbook.copies.store import MAX_AGE, MOST_KEYS, QUIET, RENEW_AHEAD, Copy, copy_of, forget

TOLERANCE = 0.05  # seconds


class Source:
    """What is copied: a value that changes, and how often it was read."""

    def __init__(self, value="old", *, takes=0.0):
        self.value, self.takes = value, takes
        self.readings = 0
        self.read_at = 0.0

    def __call__(self):
        self.readings += 1
        self.read_at = time.monotonic()
        value = self.value
        time.sleep(self.takes)
        return Copy({"value": value}, value.encode())


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def clock(monkeypatch):
    """Time passes in this process as far as we say."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(store, "monotonic", clock)
    return clock


def ask(make, key="key"):
    copy = copy_of(key, make)
    assert copy.body == copy.head["value"].encode()
    return copy.body.decode()


def at_once(act, times):
    """act() in so many threads that start together; what they returned or raised."""
    start = Barrier(times, timeout=30)

    def attempt(_):
        start.wait()
        try:
            return act()
        except ZeroDivisionError as exc:
            return exc

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(attempt, range(times)))


def in_another_process():
    """Nothing is kept here; only the cache server has what there was."""
    store._entries.clear()


# --- How old ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_stores")
def test_while_few_ask_each_is_answered_anew(source):
    for n in range(QUIET):
        source.value = str(n)
        assert ask(source) == str(n)


@pytest.mark.usefixtures("both_stores")
def test_one_copy_serves_many(source):
    assert {ask(source) for _ in range(200)} == {"old"}
    assert source.readings == QUIET + 1


def test_keys_do_not_know_each_other(busy):
    assert [ask(Source(key), key) for key in ("a", "b", "a")] == ["a", "b", "a"]


@pytest.mark.usefixtures("both_stores")
def test_a_copy_is_at_most_one_second_old(busy, source):
    assert ask(source) == "old"
    read_at, source.value = source.read_at, "new"
    last_old = time.monotonic()
    while ask(source) == "old":
        last_old = time.monotonic()
        time.sleep(0.005)
    assert MAX_AGE - RENEW_AHEAD - 0.1 < last_old - read_at <= MAX_AGE + TOLERANCE
    assert source.readings == 2


def test_before_a_copy_ends_one_makes_the_next_and_nobody_waits(busy, clock, source):
    assert ask(source) == "old"
    clock.now += MAX_AGE - RENEW_AHEAD / 2
    meanwhile = []

    def renew():
        meanwhile.extend(ask(source) for _ in range(5))  # others, while this one reads
        return Copy({"value": "new"}, b"new")

    assert ask(renew) == "new"
    assert meanwhile == ["old"] * 5
    assert (ask(source), source.readings) == ("new", 1)


def test_age_counts_from_before_the_reading(busy, clock):
    def slow():
        clock.now += 0.6
        return Copy({}, f"read until {clock.now}".encode())

    first = copy_of("key", slow)
    clock.now += MAX_AGE - RENEW_AHEAD - 0.65
    assert copy_of("key", slow) is first
    clock.now += 0.1
    assert copy_of("key", slow) is not first


def test_a_copy_of_another_process_has_its_age_already(busy, valkey, source):
    store.cache_server.write(
        store._name("key"), store._encoded(time.time() - 0.7, Source()()), seconds=2
    )
    source.value = "new"
    assert ask(source) == "old"
    time.sleep(0.3 + TOLERANCE)
    assert ask(source) == "new"


@pytest.mark.parametrize("age", [1.1, -5, float("nan")])
def test_a_copy_that_is_too_old_or_not_yet_read_is_none(busy, valkey, source, age):
    store.cache_server.write(
        store._name("key"), store._encoded(time.time() - age, Source("wrong")()), seconds=2
    )
    assert ask(source) == "old"


def test_a_rush_goes_on_into_the_next_second(clock, source):
    for second in range(3):
        clock.now += 1.01
        for _ in range(100):
            ask(source)
        assert source.readings == QUIET + 1 + second
    clock.now += 5
    source.value = "new"
    assert ask(source) == "new"
    source.value = "newer"
    assert ask(source) == "newer"


# --- InLanes ---------------------------------------------------------------------------------


def expired(clock, key="key"):
    """A key in demand whose copy has just run out."""
    for _ in range(2 * QUIET):
        ask(Source("stale"), key)
    clock.now += MAX_AGE + 0.01


def test_fifty_who_meet_at_an_expired_copy_read_once(both_stores, clock):
    expired(clock)
    forget_at_the_server()
    source = Source("new", takes=0.1)
    assert at_once(lambda: ask(source), 50) == ["new"] * 50
    assert source.readings == 1


def test_control_without_waiting_for_each_other_fifty_read_fifty_times(clock, monkeypatch):
    monkeypatch.setattr(store, "_read_together", lambda place, key, make, **_: make())
    expired(clock)
    source = Source("new", takes=0.1)
    assert at_once(lambda: ask(source), 50) == ["new"] * 50
    assert source.readings == 50


def forget_at_the_server():
    """The clock of a test turns no other process's; what they see has to run out as well."""
    store.cache_server.write(store.FORGOTTEN, time.time(), seconds=60)


def test_even_on_a_quiet_site_those_who_meet_share(source):
    source.takes = 0.1
    assert at_once(lambda: ask(source), 8) == ["old"] * 8
    assert source.readings == 1


@pytest.mark.usefixtures("both_stores")
def test_a_failure_is_the_readers_alone(busy, source):
    met = Event()

    def make():
        source.readings += 1
        if source.readings == 1:
            met.wait(5)
            raise ZeroDivisionError
        return Copy({"value": "old"}, b"old")

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, make) for _ in range(8)]
        time.sleep(0.1)
        met.set()
    errors = [answer.exception() for answer in answers]
    assert [type(error) for error in errors if error] == [ZeroDivisionError]
    assert {answer.result() for answer in answers if not answer.exception()} == {"old"}
    assert ask(make) == "old"


def test_nobody_waits_longer_than_a_second_for_another(busy, source):
    stuck, begun = Event(), Event()

    def hang():
        begun.set()
        stuck.wait(10)
        return Source("late")()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(copy_of, "key", hang)
        begun.wait(5)
        start = time.monotonic()
        assert ask(source) == "old"
        assert time.monotonic() - start < MAX_AGE + TOLERANCE
        stuck.set()
        assert slow.result().body == b"late"
    source.value = "new"
    assert ask(source) == "new", "what took longer than a second is too old to keep"


def test_those_who_come_after_that_second_share_a_reading_of_their_own(clock, source):
    stuck, begun = Event(), Event()

    def hang():
        begun.set()
        stuck.wait(10)
        return Copy({}, b"late")

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(copy_of, "key", hang)
        begun.wait(5)
        clock.now += MAX_AGE
        source.takes = 0.1
        assert at_once(lambda: ask(source), 8) == ["old"] * 8
        assert source.readings == 1
        stuck.set()
        assert slow.result().body == b"late"


def test_who_comes_as_a_reading_ends_takes_what_was_read(busy, clock, source):
    ask(source)
    place = store._entries["key"]
    copy = store._read_together(place, "key", pytest.fail, busy=True, now=clock.now)
    assert copy is place.kept.copy


# --- Forgetting -------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_stores")
def test_what_is_forgotten_is_read_anew(busy, source):
    ask(source)
    source.value = "new"
    assert ask(source) == "old"
    forget()
    assert ask(source) == "new"


def test_another_process_hears_that_something_was_forgotten(busy, valkey, source):
    ask(source)
    in_another_process()
    source.value = "new"
    assert ask(source) == "old", "it uses what the first one read"
    forget()
    in_another_process()
    assert ask(source) == "new"


@pytest.mark.usefixtures("both_stores")
def test_what_was_being_read_when_it_was_forgotten_is_not_kept(busy, source):
    def overtaken():
        copy = source()
        source.value = "new"
        forget()
        return copy

    assert ask(overtaken) == "old"
    assert ask(source) == "new"
    in_another_process()
    assert ask(source) == "new"


def test_who_asks_after_the_change_does_not_join_a_reading_from_before_it(busy, source):
    begun, changed = Event(), Event()

    def before():
        copy = source()
        begun.set()
        changed.wait(5)
        return copy

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, before)
        begun.wait(5)
        source.value = "new"
        forget()
        assert ask(source) == "new"
        changed.set()
        assert slow.result() == "old"
    assert ask(source) == "new"


# --- Room -------------------------------------------------------------------------------------


def test_made_up_keys_take_little_room_and_push_out_nothing_in_demand(source):
    for _ in range(2 * QUIET):
        ask(source, "in demand")
    for n in range(3 * MOST_KEYS):
        ask(Source(), n)
    assert len(store._entries) <= MOST_KEYS
    assert store._bytes(store._entries) == len("old")
    source.value = "new"
    assert ask(source, "in demand") == "old"


def test_copies_take_no_more_room_than_they_may(busy, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 1000)
    for n in range(100):
        assert ask(Source("x" * 300), n) == "x" * 300
        assert store._bytes(store._entries) <= 1000
