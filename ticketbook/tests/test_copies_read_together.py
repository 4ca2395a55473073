"""Requests that meet where there is no copy share one reading."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Semaphore

import pytest

from ticketbook.copies import store
from ticketbook.copies.store import MAX_AGE, QUIET, Copy, copy_of
from ticketbook.tests.copying import TOLERANCE, Source, ask, quickest


def at_once(act, times):
    """Run act in threads that start together; returns what they returned or raised."""
    start = Barrier(times, timeout=30)

    def attempt(_):
        start.wait()
        try:
            return act()
        except ZeroDivisionError as exc:
            return exc

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(attempt, range(times)))


def expired(clock, key="key"):
    """Make a key popular, and let its copy expire."""
    for _ in range(2 * QUIET):
        ask(Source("stale"), key)
    clock.now += MAX_AGE + 0.01


def test_fifty_requests_that_meet_at_an_expired_copy_read_once(both_stores, clock):
    expired(clock)
    forget_at_the_server()
    source = Source("new", takes=0.1)
    assert at_once(lambda: ask(source), 50) == ["new"] * 50
    assert source.readings == 1


def test_control_without_waiting_fifty_requests_read_fifty_times(clock, monkeypatch):
    monkeypatch.setattr(store, "_read_together", lambda place, key, make, **_: make())
    expired(clock)
    source = Source("new", takes=0.1)
    assert at_once(lambda: ask(source), 50) == ["new"] * 50
    assert source.readings == 50


def forget_at_the_server():
    """The test's clock does not move at the cache server, so the copy there has to be forgotten."""
    store.cache_server.write(store.FORGOTTEN, time.time(), seconds=60)


def test_even_on_a_quiet_site_requests_that_meet_share_a_reading(source):
    source.takes = 0.1
    assert at_once(lambda: ask(source), 8) == ["old"] * 8
    assert source.readings == 1


@pytest.mark.usefixtures("both_stores")
def test_a_reading_that_fails_fails_one_request_only(busy, source):
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
    stuck, begun = Event(), Semaphore(0)

    def hang():
        begun.release()
        stuck.wait(10)
        return Source("late")()

    slow = []

    def wait_for_another(n):
        slow.append(pool.submit(copy_of, f"key {n}", hang))
        begun.acquire(timeout=5)
        assert ask(source, f"key {n}") == "old"

    with ThreadPoolExecutor(2) as pool:
        assert MAX_AGE - TOLERANCE < quickest(wait_for_another, times=2) < MAX_AGE + TOLERANCE
        stuck.set()
        assert {each.result().body for each in slow} == {b"late"}
    source.value = "new"
    assert ask(source, "key 0") == "new", "what took longer than a second is too old to keep"


def test_requests_after_that_second_share_a_reading_of_their_own(clock, source):
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


def test_a_request_that_comes_as_a_reading_ends_takes_its_result(busy, clock, source):
    ask(source)
    place = store._entries["key"]
    copy = store._read_together(place, "key", pytest.fail, busy=True, now=clock.now)
    assert copy is place.kept.copy
