"""A part of the cluster: one process, what starts it, and what keeps it up."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from ticketbook.embedded import binaries
from ticketbook.environment import BASE_DIR

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
DOWN = 1.0  # seconds until a part that ended is started again, as a service manager would
KEEP_LOG = 10_000_000  # bytes; a longer log is renamed at the next start


class Part:
    """One process. `environment` is all that it has, and `namespace` a network of its own (networks.py).

    A file of its name in the folder `down` keeps it from being started again.
    """

    def __init__(
        self,
        name: str,
        *command: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        as_server_user: bool = True,
        namespace: str = "",
        stop_limit: float = 20,
    ) -> None:
        self.name, self.command, self.namespace = name, command, namespace
        self.folder = folder
        self.environment = dict(environment or _plain_environment())
        self.as_server_user, self.stop_limit = as_server_user, stop_limit
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._ended_at: float | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.name}.log"

    @property
    def down(self) -> Path:
        return self.folder / "down" / self.name

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        self._ended_at = None
        self.starts += 1
        if self.log.exists() and self.log.stat().st_size > KEEP_LOG:
            self.log.rename(self.log.with_suffix(".log.old"))
        with open(self.log, "ab") as log:
            # The log is handed over open, because the servers' user may be unable to open it.
            self.process = subprocess.Popen(
                self.command,
                cwd="/" if self.as_server_user else BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # our Ctrl-C does not reach it
                preexec_fn=self._become,
            )
        (self.folder / "run" / self.name).write_text(str(self.process.pid))

    def _become(self) -> None:
        # Runs in the child.
        libc = ctypes.CDLL(None, use_errno=True)
        if self.namespace:
            with open(f"/run/netns/{self.namespace}") as file:
                if libc.setns(file.fileno(), CLONE_NEWNET):
                    os._exit(126)
        if self.as_server_user and os.geteuid() == 0:
            user = binaries.server_user()
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        # The kernel stops it if the process that started it is killed.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def keep_up(self) -> None:
        """Start it if it has ended a second ago, and nothing says that it is down."""
        if self.lives() or self.down.exists():
            self._ended_at = None
            return
        self._ended_at = self._ended_at or time.monotonic()
        if time.monotonic() > self._ended_at + DOWN:
            self.start()

    def kill(self) -> None:
        """SIGKILL, and wait until it has gone. Its children live on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def begin_to_stop(self) -> None:
        """SIGTERM, without waiting for what comes of it."""
        if self.process is not None and self.lives():
            self.process.terminate()

    def stop(self) -> None:
        """SIGTERM; SIGKILL after `stop_limit` seconds."""
        if not self.lives():
            return
        assert self.process is not None
        self.begin_to_stop()
        try:
            self.process.wait(self.stop_limit)
        except subprocess.TimeoutExpired:
            for process in family(self.process.pid):
                process.kill()
            self.process.wait()


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it; an empty list if it has gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
