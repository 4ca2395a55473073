"""All processes count together, also at the same moment."""

import subprocess

import pytest
from django.db import connection

from ticketbook.tests.running import environment, python

pytestmark = pytest.mark.django_db(transaction=True)

# A process whose 20 threads guess at the same moment. It prints how many guesses were looked at.
GUESSES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
import django
django.setup()
from django.conf import settings
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
from django.contrib.auth import authenticate
from django.db import connection
from accounts import throttle
from ticketbook.errors import Throttled

throttle.FIRST_WAIT = 60.0
start, checked = Barrier(20), Barrier(20)

def count_after_the_look(*counted):
    # What the real one must not do: look at the count, and add to it later.
    busy = [c for c in counted if throttle._rows(throttle._execute(
        "SELECT 1 FROM accounts_attempts WHERE key = %(key)s AND free_at > now()", {"key": c.key}))]
    checked.wait(10)
    if busy:
        raise Throttled(1)
    with suppress(Throttled):
        real(*counted)

real = throttle.count
if sys.argv[1] == "control":
    throttle.count = count_after_the_look

def guess(n):
    connection.ensure_connection()
    start.wait(10)
    try:
        authenticate(None, username="ann@example.com", password=f"wrong {n}")
        return 1
    except Throttled:
        return 0
    finally:
        connection.close()

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(20) as pool:
    print(sum(pool.map(guess, range(20))), flush=True)
"""


def looked_at(how):
    """How many guesses of two processes were looked at."""
    params = connection.get_connection_params()
    url = "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)
    env = environment(
        DJANGO_SETTINGS_MODULE="ticketbook.settings",
        DATABASE_URL=url,
        SECRET_KEY="only-for-tests" * 5,
        LOCK_TIMEOUT_MS=20_000,
    )
    guessing = [python("-c", GUESSES, how, env=env, stdin=subprocess.PIPE) for _ in range(2)]
    for process in guessing:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in guessing:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(int(process.communicate(timeout=60)[0]) for process in guessing)


def test_guesses_of_two_processes_at_the_same_moment_do_not_pass_the_limit_together():
    assert looked_at("as it is") == 10


def test_control_if_they_are_counted_after_the_look_they_do():
    assert looked_at("control") > 10
