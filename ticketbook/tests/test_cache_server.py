"""A real Valkey between processes, and a cache server that dies, is slow or returns garbage."""

import json
import pickle
import socket
import time
from contextlib import closing
from threading import Thread

import pytest
from django.core.cache import cache

from ticketbook.copies import cache_server, store
from ticketbook.copies.store import Copy
from ticketbook.tests.copying import quickest
from ticketbook.tests.running import environment, free_port, python

pytestmark = pytest.mark.usefixtures("busy")

# A process that asks for one key for 1.5 seconds, and writes a line to a file whenever it has to read.
ASKS = """
import sys, time
import django
django.setup()
from ticketbook.copies import store
store.QUIET = 0
def read():
    with open(sys.argv[1], "a") as file:
        file.write("read\\n")
    time.sleep(0.05)
    return store.Copy({}, b"copy")
store.cache_server.read("x")  # imports the client
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + 1.5
while time.monotonic() < end:
    assert store.copy_of("key", read).body == b"copy"
    time.sleep(0.001)
"""


def read():
    return Copy({}, b"from the database")


def ask(key="key", make=read):
    return store.copy_of(key, make).body


def ask_a_hundred_times(name):
    for n in range(100):
        ask(f"{name} {n}")


def raw_key(key="key"):
    """The key as the cache server knows it."""
    return cache.make_key(store._name(key))


def readings_of_three_processes(tmp_path, **changes):
    note = tmp_path / "readings"
    env = environment(DJANGO_SETTINGS_MODULE="ticketbook.settings", DATA_DIR=tmp_path, **changes)
    asking = [python("-c", ASKS, note, env=env, stdin=-1) for _ in range(3)]
    for process in asking:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in asking:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in asking:
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
    return len(note.read_text().splitlines())


def test_of_several_processes_one_reads(valkey, tmp_path):
    # In 1.5 seconds a copy expires once, or twice if the processes did not start together.
    assert readings_of_three_processes(tmp_path, CACHE_URL=valkey.connection_url) in {2, 3}


def test_control_without_a_cache_server_each_process_reads(tmp_path):
    assert readings_of_three_processes(tmp_path) >= 6


def test_a_process_that_fails_to_read_does_not_keep_others_from_reading(valkey):
    def fail():
        raise ZeroDivisionError

    keys = [f"key {n}" for n in range(5)]
    for key in keys:
        with pytest.raises(ZeroDivisionError):
            ask(key, make=fail)

    def ask_again(n):
        assert ask(keys[n]) == b"from the database"

    assert quickest(ask_again) < 0.15


def test_a_process_that_dies_while_it_reads_delays_others_for_a_moment_only(valkey):
    def ask_for_a_claimed_one(n):
        cache_server.claim(f"{store._name(n)}:claim", seconds=60)
        assert ask(n) == b"from the database"

    assert quickest(ask_for_a_claimed_one, times=3) < 0.5


def kept_at_the_server(key):
    return cache_server.read(store._name(key)) != {}


def test_a_killed_server_changes_no_answer_and_is_used_again_later(valkey, caplog):
    ask("before")
    assert kept_at_the_server("before")
    valkey.terminate()
    for n in range(20):
        assert ask(n) == b"from the database"
    assert [record.getMessage() for record in caplog.records] == [
        "The cache server fails (ConnectionError): working without it."
    ]

    valkey.start()
    time.sleep(cache_server.REST)
    ask("after")
    assert kept_at_the_server("after")
    assert caplog.records[-1].getMessage() == "The cache server answers again."


def test_a_server_that_restarts_between_two_questions_goes_unnoticed(valkey, caplog):
    ask("before")
    valkey.terminate()
    valkey.start()
    ask("after")
    assert kept_at_the_server("after")
    assert not caplog.records


def test_a_server_that_is_not_there_costs_next_to_nothing(use_cache_server, caplog):
    use_cache_server(f"valkey://ann:hush@127.0.0.1:{free_port()}/0")
    assert ask() == b"from the database"
    assert quickest(ask_a_hundred_times, times=3) < 0.2
    assert len(caplog.records) == 1
    assert "hush" not in caplog.text


@pytest.fixture
def impostor(use_cache_server):
    """A server that is no cache server: it always says the same, or accepts connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        use_cache_server(f"valkey://127.0.0.1:{listener.getsockname()[1]}/0")

        def serve(says):
            while True:
                try:
                    caller, _ = listener.accept()
                    while caller.recv(4096):
                        caller.sendall(says)
                except OSError:
                    return

        def start(says):
            Thread(target=serve, args=[says], daemon=True).start()

        yield start
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_that_does_not_answer_costs_a_quarter_of_a_second_once(impostor, caplog):
    start = time.monotonic()
    assert ask() == b"from the database"
    assert time.monotonic() - start < 0.6
    assert quickest(ask_a_hundred_times, times=3) < 0.2
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "says",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff" * 100, b"+OK\r\n", b":7\r\n", b"*-1\r\n",
     b"*1\r\n$3\r\nabc\r\n", b"-ERR no such thing\r\n", b"-LOADING\r\n"],
)  # fmt: skip
def test_a_server_of_another_kind_changes_no_answer(impostor, says):
    impostor(says)
    for n in range(5):
        assert ask(n) == b"from the database"
    store.forget()


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("what lies in the cache was run",)


LABEL = json.dumps([time.time(), {}]).encode()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"=", b"garbage", b"\xff\xfe", b"7", b"[]", b'{"a": 1}', b"[" * 100_000, pickle.dumps(Bomb()),
     b"=[]\nx", b"=null\nx", b'=["soon", {}]\nx', b"=[9e99, {}]\nx", b'=[1e999, {}]\nx', b"=[1, 2]\nx",
     b'=[null, {"a": "b"}]\nx', b"=[1, {}, 3]\nx", b"=" + LABEL.replace(b"{}", b'{"a": 1}') + b"\nx",
     b"=" + LABEL.replace(b"{}", rb'{"ETag": "a\nSet-Cookie: b"}') + b"\nx"],
    ids=lambda garbage: repr(garbage[:20]),
)  # fmt: skip
def test_garbage_in_the_cache_is_ignored_and_replaced(valkey, caplog, garbage):
    with valkey.client() as client:
        client.set(raw_key(), garbage)
    assert ask() == b"from the database"
    store._entries.clear()
    assert ask(make=lambda: pytest.fail("it was replaced")) == b"from the database"
    assert not caplog.records


@pytest.mark.parametrize("garbage", [b"garbage", b"=x", b'"soon"', b"[]", b"NaN", b"1e300"])
def test_garbage_for_the_time_of_forgetting_means_that_nothing_is_shared(valkey, garbage):
    with valkey.client() as client:
        client.set(cache.make_key(store.FORGOTTEN), garbage)
    ask()
    store._entries.clear()
    assert ask(make=lambda: Copy({}, b"anew")) == b"anew"
    store.forget()
    ask()
    store._entries.clear()
    assert ask(make=lambda: pytest.fail("it was forgotten anew")) == b"from the database"


def test_a_key_of_another_type_is_ignored(valkey):
    with valkey.client() as client:
        client.lpush(raw_key(), "a list")
    assert ask() == b"from the database"


def test_the_cache_returns_values_unchanged(valkey):
    for value in [b"bytes", b"", 7, 1.5, "words", ["a", 1], {"a": [None, True]}]:
        cache.set("value", value)
        assert cache.get("value") == value
    cache.set("number", 1)
    assert cache.incr("number") == 2
