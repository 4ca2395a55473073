"""Copies: how old they become, how they are forgotten, and how much room they take."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from ticketbook.copies import store
from ticketbook.copies.store import MAX_AGE, MOST_KEYS, QUIET, RENEW_AHEAD, Copy, copy_of, forget
from ticketbook.tests.copying import TOLERANCE, Source, ask, in_another_process

# --- How old ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_stores")
def test_a_few_requests_each_get_a_new_reading(source):
    for n in range(QUIET):
        source.value = str(n)
        assert ask(source) == str(n)


@pytest.mark.usefixtures("both_stores")
def test_one_copy_serves_many(source):
    assert {ask(source) for _ in range(200)} == {"old"}
    assert source.readings == QUIET + 1


def test_each_key_has_a_copy_of_its_own(busy):
    assert [ask(Source(key), key) for key in ("a", "b", "a")] == ["a", "b", "a"]


@pytest.mark.usefixtures("both_stores")
def test_a_copy_is_at_most_one_second_old(busy, source):
    assert ask(source) == "old"
    read_at, source.value = source.read_at, "new"
    last_old = asked_at = time.monotonic()
    while ask(source) == "old":
        last_old = asked_at
        time.sleep(0.005)
        asked_at = time.monotonic()
    assert MAX_AGE - RENEW_AHEAD - 0.1 < last_old - read_at <= MAX_AGE + TOLERANCE
    assert source.readings == 2


def test_before_a_copy_expires_one_request_renews_it_and_nobody_waits(busy, clock, source):
    assert ask(source) == "old"
    clock.now += MAX_AGE - RENEW_AHEAD / 2
    meanwhile = []

    def renew():
        meanwhile.extend(ask(source) for _ in range(5))  # other requests, while this one reads
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


def test_a_copy_of_another_process_keeps_its_age(busy, valkey, source):
    store.cache_server.write(
        store._name("key"), store._encoded(time.time() - 0.7, Source()()), seconds=2
    )
    source.value = "new"
    assert ask(source) == "old"
    time.sleep(0.3 + TOLERANCE)
    assert ask(source) == "new"


@pytest.mark.parametrize("age", [1.1, -5, float("nan")])
def test_a_copy_that_is_too_old_or_from_the_future_is_not_used(busy, valkey, source, age):
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


# --- Forgetting ---------------------------------------------------------------------------------


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


def test_a_request_after_the_change_does_not_join_a_reading_from_before_it(busy, source):
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


# --- Room ---------------------------------------------------------------------------------------


def test_made_up_keys_take_little_room_and_push_out_no_copy_in_demand(source, clock):
    for _ in range(2 * QUIET):
        ask(source, "in demand")
    for n in range(3 * MOST_KEYS):
        ask(Source(), n)
    assert len(store._entries) <= MOST_KEYS
    assert store._bytes(store._entries) == len("old")
    source.value = "new"
    assert ask(source, "in demand") == "old"


def test_copies_take_no_more_room_than_is_allowed(busy, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 1000)
    for n in range(100):
        assert ask(Source("x" * 300), n) == "x" * 300
        assert store._bytes(store._entries) <= 1000
