"""The embedded PostgreSQL: the first process that joins starts it, and the last that leaves stops it.

Each process that joined holds a shared flock on `users.lock`. The kernel drops it when the process ends,
however it ends. Starting and stopping happen under an exclusive `start.lock`. If the last process is
killed, the server stays running; the next process joins it and later stops it. If the server is killed,
the next connection starts it again.
"""

import atexit
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from ticketbook.embedded import roles
from ticketbook.embedded.binaries import EmbeddedPostgresError
from ticketbook.embedded.cluster import Cluster
from ticketbook.embedded.postmaster import Postmaster


class Membership:
    """What a process holds while it uses the server of one DATA_DIR."""

    def __init__(self, cluster: Cluster, server: Postmaster, users_lock: int) -> None:
        self.cluster = cluster
        self.server = server
        self.users_lock = users_lock
        self.params: dict[str, Any] = {}

    def close(self) -> None:
        self.server.close()
        os.close(self.users_lock)


_memberships: dict[Path, Membership] = {}
_mutex = threading.Lock()


def join(data_dir: Path) -> dict[str, Any]:
    """Connection parameters of the server in data_dir, which is started if it does not run.

    Called for every connection, so it is cheap once joined. Raises EmbeddedPostgresError.
    """
    member = _memberships.get(data_dir)
    if member is None or not member.server.is_alive():
        with _mutex:
            member = _memberships.get(data_dir)
            if member is None or not member.server.is_alive():
                member = _enter(data_dir)
    return member.params.copy()


def join_as_superuser(data_dir: Path) -> dict[str, Any]:
    """As join, for what the application may not do: it makes test databases, and measures in benchmarks."""
    join(data_dir)
    member = _memberships[data_dir]
    return roles.parameters(member.cluster, member.server.port, superuser=True)


def leave() -> None:
    """Stop using the servers that this process joined. The last user of a server stops it."""
    with _mutex:
        _leave()


def leave_and_exit(code: int) -> NoReturn:
    """Leave, and end the process at once. Runs on a thread of its own; no other thread can join again."""
    with _mutex:
        try:
            _leave()
        finally:
            os._exit(code)


def _leave() -> None:
    while _memberships:
        data_dir, member = _memberships.popitem()
        # If the folder is gone, no other process can use what is left of its server.
        with _start_lock(data_dir) if data_dir.is_dir() else nullcontext():
            _release(member)


def _enter(data_dir: Path) -> Membership:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with _start_lock(data_dir):
            member = _become_member(data_dir)
            if old := _memberships.pop(data_dir, None):
                old.close()
            _memberships[data_dir] = member
            return member
    except OSError as exc:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot use {exc.filename or data_dir}: {exc.strerror}. "
            "Set DATA_DIR to a folder that this user may write to, with space on its disk."
        ) from exc


def _become_member(data_dir: Path) -> Membership:
    cluster = Cluster(data_dir)
    member = Membership(cluster, cluster.serve(), _register(data_dir))
    try:
        roles.prepare(cluster, member.server.port)
        member.params = roles.parameters(cluster, member.server.port)
    except BaseException:
        _release(member)
        raise
    return member


def _release(member: Membership) -> None:
    if _is_last_user(member):
        member.server.stop()
        # Another process, gone by now, may have started it again after a crash.
        if newer := member.cluster.find():
            newer.stop()
            newer.close()
    member.close()


@contextmanager
def _start_lock(data_dir: Path) -> Iterator[None]:
    handle = os.open(data_dir / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked explicitly: a child that was forked meanwhile holds a copy of the handle, so closing
        # alone would not unlock.
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
    # A forked child joins by itself when it connects. Closing its copies leaves the parent's lock alone.
    global _mutex
    _mutex = threading.Lock()
    while _memberships:
        _memberships.popitem()[1].close()


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(leave)
