"""The embedded PostgreSQL: whoever needs it joins it; the first starts it, the last stops it.

Who uses it is counted by the kernel. Each process that joined holds a shared flock on `users.lock`
for its life, and a lock dies with its process, however that ends. Starting and stopping happen
under an exclusive `start.lock`. A process that is killed leaves the server running, for the next
one to join and later to stop; a server that is killed is started again at the next connect.
"""

import atexit
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ticketbook.postgres.binaries import EmbeddedPostgresError, binary
from ticketbook.postgres.cluster import Cluster, Postmaster

__all__ = ["EmbeddedPostgresError", "binary", "join", "leave"]

DATABASE = "ticketbook"


class Membership:
    """What one process holds while it uses the server of one DATA_DIR."""

    def __init__(self, server: Postmaster, users_lock: int, params: dict[str, object]) -> None:
        self.server = server
        self.users_lock = users_lock
        self.params = params

    def close(self) -> None:
        self.server.close()
        os.close(self.users_lock)


_memberships: dict[Path, Membership] = {}
_door = threading.Lock()


def join(data_dir: Path) -> dict[str, object]:
    """Connection parameters of the server in data_dir, started if need be.

    Cheap once joined, and asked at every connect. Raises EmbeddedPostgresError.
    """
    member = _memberships.get(data_dir)
    if member is None or not member.server.is_alive():
        with _door:
            member = _memberships.get(data_dir)
            if member is None or not member.server.is_alive():
                member = _enter(data_dir)
    return member.params.copy()


def leave() -> None:
    """Stop using the servers this process joined, and stop those that nobody else uses."""
    while _memberships:
        data_dir, member = _memberships.popitem()
        with _start_lock(data_dir):
            if _is_last_user(member):
                member.server.stop()
            member.close()


def _enter(data_dir: Path) -> Membership:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with _start_lock(data_dir):
            cluster = Cluster(data_dir)
            server = cluster.serve()
            params = {
                "host": "127.0.0.1",
                "port": server.port,
                "user": "ticketbook",
                "password": cluster.password(),
                # It listens on the loopback only: no round trip to ask about TLS.
                "sslmode": "disable",
            }
            _ensure_database(params, cluster)
            if old := _memberships.pop(data_dir, None):
                old.close()
            _memberships[data_dir] = Membership(server, _register(data_dir), params)
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot use {exc.filename or data_dir}: {exc.strerror}. "
            "Set DATA_DIR to a folder that this user may write to, with space on its disk."
        ) from exc
    return _memberships[data_dir]


def _ensure_database(params: dict[str, object], cluster: Cluster) -> None:
    try:
        with psycopg.connect(
            dbname="postgres", autocommit=True, connect_timeout=10, **params
        ) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.OperationalError as exc:
        if "password authentication failed" not in str(exc):
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL does not answer: {exc} (see {cluster.log})."
            ) from exc
        raise EmbeddedPostgresError(
            f"{cluster.password_file} does not hold the password of this database: put the right "
            f"one back, or delete {cluster.folder} to start again without its data."
        ) from None


@contextmanager
def _start_lock(data_dir: Path) -> Iterator[None]:
    handle = os.open(data_dir / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked by name: a child forked meanwhile holds a copy that closing would not release.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _register(data_dir: Path) -> int:
    handle = os.open(data_dir / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def _is_last_user(member: Membership) -> bool:
    try:
        fcntl.flock(member.users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_parent() -> None:
    """A forked child is a user of its own from its first join on; closing leaves the parent's lock."""
    global _door
    _door = threading.Lock()
    while _memberships:
        _memberships.popitem()[1].close()


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(leave)
