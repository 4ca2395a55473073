"""All orders in which the steps of two verbs can happen, each on a connection of its own.

A step ends after each statement that locks or writes what both verbs care about (GATES), after each look at a
booking before the first of those, and with the verb. PostgreSQL itself says when a verb waits for the other
one; then only the other one can go on.
"""

import re
import threading
import time

from django.db import connection, connections

GATES = re.compile(r"FOR NO KEY UPDATE|UPDATE bookings_booking |INSERT INTO bookings_booking ")
LOOK = re.compile(r"^\s*SELECT .* FROM bookings_booking WHERE", re.DOTALL)
PATIENCE = 30


class Verb:
    """Runs in a thread, and stops at each gate until it may make the next step."""

    def __init__(self, act):
        self.act = act
        self.may_go, self.stands = threading.Event(), threading.Event()
        self.ended = self.has_written = False
        self.backend = self.result = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.stands.wait(PATIENCE)

    def _run(self):
        try:
            connection.ensure_connection()
            self.backend = connection.connection.info.backend_pid
            self._stop()
            with connection.execute_wrapper(self._gate):
                self.result = self.act()
        except Exception as exc:
            self.result = exc
        finally:
            connections.close_all()
            self.ended = True
            self.stands.set()

    def _gate(self, execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        sql = sql.replace('"', "")
        if GATES.search(sql):
            self.has_written = True
            self._stop()
        elif not self.has_written and LOOK.search(sql):
            self._stop()
        return result

    def _stop(self):
        self.stands.set()
        assert self.may_go.wait(PATIENCE), "the test never let this verb go on"
        self.may_go.clear()

    def step(self, other):
        """Let it go on; returns when it stands at a gate again, has ended, or waits for the other verb."""
        self.stands.clear()
        self.may_go.set()
        self.settle(other)

    def settle(self, other):
        deadline = time.monotonic() + PATIENCE
        while not self.stands.wait(0.004):
            if not other.ended and _waits_for(self.backend, other.backend):
                return
            assert time.monotonic() < deadline, "it neither ends nor waits"

    @property
    def waits(self):
        return not self.stands.is_set()


def _waits_for(backend, other):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s = ANY(pg_blocking_pids(%s))", [other, backend])
        return cursor.fetchone()[0]


def _run(first, second, choices):
    """Make the steps in the order of `choices`, then the first verb first.

    Returns the order in which steps were made, the choices at all moments at which both could go on, and both
    results.
    """
    verbs, made, order = [Verb(first), Verb(second)], [], ""
    while not all(verb.ended for verb in verbs):
        ready = [i for i in (0, 1) if not verbs[i].ended and not verbs[i].waits]
        assert ready, "both wait"
        if len(ready) == 2:
            made.append(choices[len(made)] if len(made) < len(choices) else 0)
            turn = made[-1]
        else:
            [turn] = ready
        order += "ab"[turn]
        verbs[turn].step(verbs[1 - turn])
        for verb, other in ((verbs[0], verbs[1]), (verbs[1], verbs[0])):
            if verb.waits:
                verb.settle(other)
    for verb in verbs:
        verb.thread.join(PATIENCE)
    return order, made, verbs[0].result, verbs[1].result


def permutations(stage):
    """For every order of steps: the order, both results, and what `stage` has set up for it.

    `stage()` sets a scene and returns it with two functions, the verbs.
    """
    choices = []
    while True:
        scene, first, second = stage()
        order, made, *results = _run(first, second, choices)
        yield order, *results, scene
        while made and made[-1] == 1:
            made.pop()
        if not made:
            return
        choices = [*made[:-1], 1]
