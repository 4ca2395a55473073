"""A server that stands still: after ten seconds nobody waits for it any more.

The kernel of such a server (SIGSTOP, a machine that is paused) goes on acknowledging what it is sent. So no
time-out of TCP ends a wait, and the server's own time-outs stand still too. Whoever has asked it something
would wait for ever.

Each process that serves therefore asks its server every second whether it takes writes (`Watch`). If no
answer has come for LIMIT seconds, the sockets of all connections of the process are shut down, and whoever
waits gets the error of a lost connection. The server is told nothing, so no COMMIT is cancelled; it is one
without an answer (bookings/commits.py). Until the server answers again nobody else connects to it. So
requests are `busy` at once, and do not wait for connect_timeout first.

While the server answers, everybody waits as long as it takes: for a report, or for a COMMIT that waits for
its standby.
"""

import logging
import os
import socket
import threading
import weakref
from contextlib import suppress
from typing import Any

import psycopg
from django.db import connection
from psycopg.errors import ConnectionTimeout

from ticketbook.postgres.failures import drop_dead_connection
from ticketbook.postgres.losing import TAKES_WRITES, leave_this_server

logger = logging.getLogger(__name__)

EVERY = 1.0  # seconds
# Seconds without an answer. The question needs no lock and no disk, so it has nothing to wait for.
LIMIT = 10

_connections: weakref.WeakSet[Any] = weakref.WeakSet()  # psycopg's, of this process
_lock = threading.Lock()
_silent = False
_this_thread = threading.local()


def remember(psycopg_connection: Any) -> None:
    """A new connection, which is broken off with the others."""
    with _lock:
        _connections.add(psycopg_connection)


def is_silent() -> bool:
    """Whether the server is known not to answer."""
    return _silent


def refuse_to_wait() -> None:
    """Raises psycopg.OperationalError while the server is known not to answer."""
    if _silent and not getattr(_this_thread, "asks", False):
        raise psycopg.OperationalError("the server does not answer")


def break_off_all() -> None:
    """Shut the sockets down. Whoever waits for an answer gets an error now, all others at their next use."""
    with _lock:
        connections = list(_connections)
    for each in connections:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(each.fileno())) as its:
            each.fileno()  # raises if it was closed meanwhile: its number may be another socket's by now
            its.shutdown(socket.SHUT_RDWR)


class Watch:
    """Two threads: one asks, and may wait for long; the other one counts for how long."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        # Daemons, so that a process can end while its server stands still.
        self._threads = [
            threading.Thread(target=act, name="database watch", daemon=True)
            for act in (self._ask, self._count)
        ]
        # Seconds, and the one of the last answer. They are counted, and not read from a clock: while this
        # process itself stands still they do not go on.
        self._now = self._answered = 0
        self._broken_off = 0  # how many times

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(1)

    def _ask(self) -> None:
        _this_thread.asks = True
        while not self._stopped.wait(EVERY):
            before = self._broken_off
            if _reacts() and before == self._broken_off:
                self._answered = self._now
                _set_silent(False)
        connection.close()

    def _count(self) -> None:
        while not self._stopped.wait(1):
            self._now += 1
            silent_for = self._now - self._answered
            if silent_for and silent_for % LIMIT == 0:
                self._broken_off += 1
                _set_silent(True)
                break_off_all()


def _set_silent(silent: bool) -> None:
    global _silent
    if silent and not _silent:
        logger.error(
            "The database has not answered for %d seconds. Nobody waits for it now.", LIMIT
        )
    elif _silent and not silent:
        logger.warning("The database answers again.")
    _silent = silent


def _reacts() -> bool:
    """Whether the server answered. A refusal is an answer too: whoever is refused does not wait."""
    try:
        drop_dead_connection()
        with connection.cursor() as cursor:
            cursor.execute(TAKES_WRITES)
            ((takes_writes,),) = cursor.fetchall()
        if not takes_writes:
            leave_this_server()
            connection.close()
    except Exception as exc:
        with suppress(Exception):
            connection.close()
        return not isinstance(exc.__cause__, ConnectionTimeout)
    return True
