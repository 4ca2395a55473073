"""The embedded cluster in DATA_DIR/postgres: makes it, finds its server, starts it.

Two processes must not do this at the same time, so membership.py calls it under a lock.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from ticketbook.embedded import binaries
from ticketbook.embedded.binaries import EmbeddedPostgresError
from ticketbook.embedded.postmaster import Postmaster

START_LIMIT = 120  # seconds; crash recovery after a long load takes a while
SUPERUSER = "postgres"
KEEP_LOG = 10_000_000  # bytes; a longer log is renamed at the next start

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "500",
    # Above LOCK_TIMEOUT_MS, so that a wait for a tier's lock ends before the search for a deadlock.
    "deadlock_timeout": "3s",
    "log_checkpoints": "off",
    # A new site grows fast. By default PostgreSQL would renew the statistics of its plans once a minute.
    "autovacuum_naptime": "10s",
    # For whoever wants to see what statements cost (CREATE EXTENSION pg_stat_statements).
    "shared_preload_libraries": "pg_stat_statements",
    "cluster_name": "ticketbook",
}


# Servers that this process started. They are kept so that a dead one can be reaped.
_started: list[subprocess.Popen[str]] = []


class Cluster:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = data_dir / "postgres"
        self.log = data_dir / "postgres.log"
        self.password_file = data_dir / "postgres.password"  # the application's
        self.superuser_file = data_dir / "postgres.superuser-password"
        self.port_file = data_dir / "postgres.port"

    def serve(self) -> Postmaster:
        """The running server of this cluster. Makes and starts it if necessary."""
        if not self.folder.exists():
            self._create()
        self._check()
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if (server := self.find()) is None:
                self._start()
            elif self._status() == "ready":
                return server
            else:  # starting, recovering or stopping
                server.close()
                time.sleep(0.05)
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL was not ready within {START_LIMIT} seconds: see {self.log}."
        )

    def password(self) -> str:
        return self._read_password(self.password_file)

    def superuser_password(self) -> str:
        return self._read_password(self.superuser_file)

    def write_superuser_password(self) -> None:
        _write_password(self.superuser_file)

    def _read_password(self, file: Path) -> str:
        try:
            return file.read_text()
        except FileNotFoundError:
            raise EmbeddedPostgresError(
                f"{file} is missing: put it back, or delete {self.folder} "
                "to start again without its data."
            ) from None

    # --- Making one ---------------------------------------------------------------------------

    def _create(self) -> None:
        # initdb runs beside the final place, then a rename: so a cluster exists whole or not at all.
        for leftover in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self.folder.unlink(missing_ok=True)  # a link to a cluster that was deleted
        _write_password(self.password_file)
        _write_password(self.superuser_file)
        new_folder = self._new_folder()
        try:
            self._initdb(new_folder)
            if new_folder.parent == self.data_dir:
                (new_folder / "cluster").rename(self.folder)
                new_folder.rmdir()
            else:
                self.folder.symlink_to(new_folder / "cluster")
        except BaseException:
            shutil.rmtree(new_folder, ignore_errors=True)
            raise
        _sync_folder(self.data_dir)

    def _new_folder(self) -> Path:
        # In DATA_DIR. If root runs this and `nobody` cannot reach DATA_DIR, in a place of root's own.
        place, prefix = self.data_dir, "postgres.new-"
        if os.geteuid() == 0 and not binaries.can_reach(self.data_dir):
            place, prefix = binaries.root_home(), "cluster-"
        new_folder = Path(tempfile.mkdtemp(dir=place, prefix=prefix))
        if os.geteuid() == 0:
            user = binaries.server_user()
            os.chown(new_folder, user.pw_uid, user.pw_gid)
        return new_folder

    def _initdb(self, new_folder: Path) -> None:
        # The server's user cannot read our password file, so initdb gets a copy.
        password = new_folder / "password"
        with open(password, "w", opener=_open_private) as file:
            file.write(self.superuser_password())
        if os.geteuid() == 0:
            os.chown(password, binaries.server_user().pw_uid, -1)
        done = binaries.run(
            "initdb",
            f"--pgdata={new_folder / 'cluster'}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth-host=scram-sha-256",
            "--auth-local=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )
        password.unlink()
        if done.returncode:
            raise EmbeddedPostgresError(
                f"The embedded database cannot be made in {self.data_dir}: {_gist(done.stderr)}"
            )

    def _check(self) -> None:
        owner, user = self.folder.stat().st_uid, binaries.server_user()
        if owner != user.pw_uid:
            raise EmbeddedPostgresError(
                f"{self.folder} belongs to user {owner}, not to {user.pw_name}: run TicketBook as "
                "the user who made it, or set DATA_DIR to another folder."
            )
        found = (self.folder / "PG_VERSION").read_text().strip()
        if found != binaries.major_version():
            raise EmbeddedPostgresError(
                f"{self.folder} was made by PostgreSQL {found}, but this is PostgreSQL "
                f"{binaries.major_version()}: move the data over with pg_upgrade or a dump, "
                "or set DATA_DIR to another folder."
            )

    # --- Running it ---------------------------------------------------------------------------

    def find(self) -> Postmaster | None:
        """The server that postmaster.pid names, if that process really serves this cluster."""
        try:
            process = psutil.Process(int(self._pid_file_line(0)))
            port = int(self._pid_file_line(3))
            command = process.cmdline()
            serves = command[command.index("-D") + 1]
            if process.name() == "postgres" and os.path.samefile(serves, self.folder):
                return Postmaster(process, port)
        except (psutil.Error, OSError, ValueError, IndexError):
            pass
        return None

    def _status(self) -> str:
        return self._pid_file_line(7).strip()

    def _pid_file_line(self, number: int) -> str:
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[number] if number < len(lines) else ""

    def _start(self) -> None:
        # Try to start once. Raises if another try would fail too.
        _reap()
        # PostgreSQL refuses to start if the pid of a dead server now belongs to another process. Removing
        # the file is safe, because the shared memory block still shows a living server.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > KEEP_LOG:
            self.log.rename(self.log.with_suffix(".log.old"))
        with open(self.log, "a", opener=_open_private) as log:
            start = log.tell()
            # The log is handed over open, because the server's user may be unable to open it.
            child = binaries.start("postgres", *self._arguments(), stdout=log, stderr=log)
        _started.append(child)
        self._await(child)
        if child.returncode is not None:
            self._judge(self.log.read_bytes()[start:].decode(errors="replace"))

    def _await(self, child: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_LIMIT
        try:
            while child.poll() is None and self._status() != "ready":
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"The embedded PostgreSQL was not ready within {START_LIMIT} seconds: "
                        f"see {self.log}."
                    )
                time.sleep(0.02)
        except BaseException:  # also after Ctrl-C, no server may be left that nobody has joined
            child.send_signal(signal.SIGINT)
            child.wait()
            raise

    def _judge(self, complaint: str) -> None:
        # Another try may succeed after a lost race for the port, or when old backends have ended.
        passing = ("could not create any TCP/IP sockets", "pre-existing shared memory block")
        if not any(text in complaint for text in passing):
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL does not start: {_gist(complaint)} (see {self.log})."
            )
        time.sleep(0.1)

    def _arguments(self) -> list[str]:
        # -D is also how find tells our server from others.
        arguments = ["-D", str(self.folder.resolve()), "-p", str(self._free_port())]
        for name, value in OPTIONS.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _free_port(self) -> int:
        # The same port as last time if possible, so that running processes find the server again.
        try:
            return _bind(int(self.port_file.read_text()))
        except (OSError, ValueError, OverflowError):
            port = _bind(0)
        self.port_file.write_text(str(port))
        return port


def _reap() -> None:
    _started[:] = [child for child in _started if child.poll() is None]


def _bind(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def _write_password(path: Path) -> None:
    with open(path, "w", opener=_open_private) as file:
        file.write(secrets.token_urlsafe(24))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _gist(text: str) -> str:
    # PostgreSQL's last errors, on one line and without time stamps.
    lines = [re.sub(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ", "", line) for line in text.splitlines()]
    errors = [line for line in lines if re.search(r"FATAL|PANIC|error:|could not|refused", line)]
    return " ".join(line.strip() for line in (errors or lines)[-3:])
