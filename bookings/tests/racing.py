"""Two ways to make actions meet: many threads at once, or two that the test steps by hand."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.db import connection, connections


def race(act, runners):
    """Run act(i) in `runners` threads that start together; count results and errors by type."""
    start = Barrier(runners, timeout=30)

    def attempt(i):
        try:
            connection.ensure_connection()
            start.wait()
            return type(act(i))
        except Exception as exc:
            return type(exc)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(runners) as pool:
        return Counter(pool.map(attempt, range(runners)))


class Stepped:
    """Runs a verb in a thread and stops it right after a statement, inside its transaction.

    `after` is a piece of that statement's SQL, without quotes. Until `finish()` the verb keeps its locks, and
    nobody sees what it has written. So two verbs meet in a fixed order, without a sleep.
    """

    started = []

    def __init__(self, act, *, after=None):
        self.after = after
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.backend = None
        self.result = None
        self.thread = threading.Thread(target=self._run, args=[act], daemon=True)
        self.thread.start()
        self.started.append(self)

    def _run(self, act):
        try:
            connection.ensure_connection()
            self.backend = connection.connection.info.backend_pid
            with connection.execute_wrapper(self._step):
                self.result = act()
        except Exception as exc:
            self.result = exc
        finally:
            self.reached.set()
            connections.close_all()

    def _step(self, execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if self.after and self.after in sql.replace('"', "") and not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(30), "the test never let this verb go on"
        return result

    def wait_until_reached(self):
        assert self.reached.wait(30), f"never came to {self.after!r}"
        assert self.thread.is_alive(), f"ended before {self.after!r}: {self.result!r}"
        return self

    def wait_until_blocked_by(self, other):
        """Wait until PostgreSQL says that this verb, or the lane that serves it, waits for the other one."""
        deadline = time.monotonic() + 30
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                assert self.thread.is_alive(), f"never waited: {self.result!r}"
                cursor.execute(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity"
                    " WHERE %s = ANY(pg_blocking_pids(pid)))",
                    [other.backend],
                )
                if cursor.fetchone()[0]:
                    return self
        raise AssertionError("was never blocked")

    @classmethod
    def release_all(cls):
        while cls.started:
            verb = cls.started.pop()
            verb.go_on.set()
            verb.thread.join(30)

    def finish(self):
        """Let it run to its end; returns its result, or the exception that it raised."""
        self.go_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "still waiting"
        return self.result
