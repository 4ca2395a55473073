"""Runs a command of manage.py. An error that the operator can mend is one sentence, not a traceback."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import django
import psycopg
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility
from django.db import NotSupportedError, connection

from ticketbook.embedded import membership
from ticketbook.embedded.binaries import EmbeddedPostgresError
from ticketbook.postgres.pooling import DROPS, SET_POOLER, is_refused_for_settings

# The SQLSTATE classes with which a server refuses a connection: connection exception, invalid
# authorization, unknown database, insufficient resources, operator intervention.
REFUSALS = {"08", "28", "3D", "53", "57"}
# Of those classes: a statement that was cancelled, for example by a timeout.
QUERY_CANCELED = "57014"

logger = logging.getLogger(__name__)


def run_command(argv: list[str]) -> None:
    """Run a command. Wrong settings and an unreachable database end with exit code 1 and a sentence.

    `--traceback` and DEBUG show the whole error.
    """
    is_worker = argv[1:3] == ["procrastinate", "worker"]
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            # By default they end a process at once, before it can leave the embedded server.
            signal.signal(number, _end if is_worker else _exit)
    if argv[1:2] == ["demo"]:
        os.environ["DEMO"] = "on"
    try:
        if is_worker:
            # Its own connection pool would try for 30 seconds, and not say what is wrong.
            connection.ensure_connection()
            django.setup()
            check_database()
            connection.close()
        ManagementUtility(argv).execute()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as exc:
        sentence = explain(exc)
        if sentence is None or "--traceback" in argv or (settings.configured and settings.DEBUG):
            raise
        sys.exit(sentence)


def check_database() -> None:
    """Raises ImproperlyConfigured if the settings do not fit what is in the database."""
    found = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
    errors = [each for each in found if each.is_serious()]
    for each in found:
        if each not in errors:
            logger.warning("%s", each.msg)
    if errors:
        raise ImproperlyConfigured(" ".join(str(error.msg) for error in errors))


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _end(number: int, frame: FrameType | None) -> None:
    """End the job worker, until procrastinate installs handlers of its own.

    An exception is not enough here. In a callback of an import it is only printed. And if psycopg's
    pool is cancelled while it connects, it tries again, and asyncio.run waits for it forever.
    """
    with suppress(RuntimeError):  # no new thread: the interpreter is about to end
        threading.Thread(target=membership.leave_and_exit, args=(128 + number,)).start()


def explain(exc: BaseException) -> str | None:
    """A sentence that says what the operator has to do, or None for an error they cannot mend."""
    if isinstance(exc, ImproperlyConfigured | EmbeddedPostgresError):
        return str(exc)
    if isinstance(exc, NotSupportedError) and exc.__cause__ is None:
        return (
            f"TicketBook cannot use its database at {_address()}: {str(exc).rstrip('.')}. "
            "Correct DATABASE_URL, or leave it out to use the embedded PostgreSQL."
        )
    for cause in _causes(exc):
        if isinstance(cause, EmbeddedPostgresError):
            return str(cause)
        if is_refused_for_settings(cause):
            return DROPS.format(name="DATABASE_URL") + SET_POOLER
        if isinstance(cause, psycopg.OperationalError) and _is_refusal(cause):
            return (
                f"TicketBook cannot reach its database at {_address()}: {_reason(cause)}. "
                "Start PostgreSQL 18, or correct DATABASE_URL."
            )
    return None


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _is_refusal(exc: psycopg.OperationalError) -> bool:
    # Without a SQLSTATE no server answered.
    state = exc.sqlstate
    return state is None or (state[:2] in REFUSALS and state != QUERY_CANCELED)


def _address() -> str:
    database = connection.settings_dict
    host = database["HOST"] or "localhost"
    return f"{host}:{database['PORT'] or 5432}"


def _reason(exc: psycopg.OperationalError) -> str:
    # From: connection to server at "…", port … failed: Connection refused
    line = str(exc).splitlines()[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip()
    if password := connection.settings_dict["PASSWORD"]:
        line = line.replace(str(password), "…")
    return line[:1].lower() + line[1:].rstrip(".")
