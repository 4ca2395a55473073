"""Real processes for the tests: commands of manage.py, and users of an embedded server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from django.conf import settings

# Joins the server once for every line that it reads, and leaves at the end of its input.
USER = """
import json, sys
from pathlib import Path
from ticketbook.embedded import membership
for line in sys.stdin:
    print(json.dumps(membership.join(Path(sys.argv[1]))), flush=True)
"""


def environment(**changes: object) -> dict[str, str]:
    """Our environment with these changes, and without settings that would lead to another database."""
    neutral = {
        "DATABASE_URL": "",
        "CACHE_URL": "",
        "SECRET_KEY": "",
        "TICKET_KEYS": "",
        "DEBUG": "",
        "PYTHONWARNINGS": "",
    }
    return os.environ | neutral | {name: str(value) for name, value in changes.items()}


def python(*arguments: str | Path, env: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_until(condition: Callable[[], object], limit: float = 30) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def manage(*arguments: str, **changes: object) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py in an environment with these changes."""
    process = python("manage.py", *arguments, env=environment(**changes))
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


class User:
    """A process that joins the server of data_dir; `with` waits until it has, and lets it leave."""

    def __init__(self, data_dir: Path, script: str = USER, **options: Any) -> None:
        self.process = python(
            "-c", script, data_dir, env=environment(), stdin=subprocess.PIPE, **options
        )

    def join(self) -> Any:
        """Let it join (again); returns its connection parameters."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("join\n")
        stdin.flush()
        if line := stdout.readline():
            return json.loads(line)
        raise AssertionError(self.process.communicate()[1])

    def leave(self) -> str:
        """Let it end by itself; returns what it wrote to standard error."""
        return self.process.communicate(timeout=30)[1]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def __enter__(self) -> Self:
        self.params = self.join()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postmaster(data_dir: Path) -> int:
    """The pid of the server that runs in data_dir."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
