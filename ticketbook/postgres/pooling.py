"""Whether there is a pooler between us and the server that does what the settings do not say."""

from typing import Any

import psycopg
from django.conf import settings
from django.core import checks
from procrastinate.contrib.django.utils import connector_params

DROPS = (
    "{name} leads through a pooler that drops the settings of our sessions, such as lock_timeout. "
)
SHARES = (
    "{name} leads through a pooler in transaction mode, which mixes up the prepared statements of "
    "different clients. "
)
SET_POOLER = (
    "Set DATABASE_POOLER=transaction and DATABASE_DIRECT_URL, "
    "or let DATABASE_URL name the server itself."
)
SET_DIRECT = "Let it name the server itself, because the job worker listens there."
OTHER = "DATABASE_DIRECT_URL names another database than DATABASE_URL. Correct one of them."


def pooler_is_as_set(**kwargs: Any) -> list[checks.CheckMessage]:
    """A check at the start. A server that does not answer is left to /readyz."""
    if settings.EMBEDDED:
        return []
    params: dict[str, Any] = connector_params() | {"prepare_threshold": None}
    try:
        if settings.POOLED:
            direct = params | settings.DATABASE_DIRECT
            problem = _problem(direct, "DATABASE_DIRECT_URL", SET_DIRECT)
            if not problem and _database(params) != _database(direct):
                problem = OTHER
        else:
            problem = _problem(params, "DATABASE_URL", SET_POOLER)
    except psycopg.Error:
        return []
    return [checks.Error(problem, id="ticketbook.E001")] if problem else []


def _problem(params: dict[str, Any], name: str, what_to_do: str) -> str:
    try:
        one = psycopg.connect(**params, autocommit=True)
    except psycopg.OperationalError as exc:
        if is_refused_for_settings(exc):
            return DROPS.format(name=name) + what_to_do
        raise
    with one:
        if not _has_our_settings(one):
            return DROPS.format(name=name) + what_to_do
        if _is_shared(one, params):
            return SHARES.format(name=name) + what_to_do
    return ""


def is_refused_for_settings(exc: BaseException) -> bool:
    """Whether it was PgBouncer that refused a connection, because it brings settings along."""
    return "startup parameter" in str(exc)


def _has_our_settings(session: Any) -> bool:
    shown = "SELECT setting = %s FROM pg_settings WHERE name = 'lock_timeout'"
    return bool(session.execute(shown, [str(settings.LOCK_TIMEOUT_MS)]).fetchone()[0])


def _is_shared(one: Any, params: dict[str, Any]) -> bool:
    """Whether two sessions that are open at the same time use one server connection by turns."""
    first = _backend(one)
    with psycopg.connect(**params, autocommit=True) as other, other.transaction():
        return _backend(other) == first or _backend(one) != first


def _backend(session: Any) -> int:
    ((backend,),) = session.execute("SELECT pg_backend_pid()").fetchall()
    return int(backend)


def _database(params: dict[str, Any]) -> Any:
    # The cluster, which its standbys share, and the database in it.
    with psycopg.connect(**params, autocommit=True) as session:
        return session.execute(
            "SELECT (SELECT system_identifier FROM pg_control_system()), oid FROM pg_database "
            "WHERE datname = current_database()"
        ).fetchone()
