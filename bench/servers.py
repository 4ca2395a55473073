"""The servers that are measured: TicketBook as it is now, and the base, an older version of it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import psutil

from bench.site import HOME, SMALL, Site

HERE = Path(__file__).parent
BASE_COMMIT = "b141813"  # the last commit whose web server answered on threads only


class Code(Enum):
    """A version of TicketBook; the value is the module that gunicorn is told to serve."""

    NEW = "ticketbook.asgi"
    BASE = "ticketbook.wsgi"

    @property
    def folder(self) -> Path:
        return base_folder() if self is Code.BASE else HERE.parent

    @property
    def settings(self) -> str:
        # These settings of the base add its two endpoints for comparison.
        return "bench.settings" if self is Code.BASE else "ticketbook.settings"


@cache
def base_folder() -> Path:
    """Return a checkout of BASE_COMMIT: the folder that the variable BASE names, or a clone in HOME.

    Ends the program if this repository does not have the commit.
    """
    if named := os.environ.get("BASE"):
        return Path(named).absolute()
    folder = HOME / f"base-{BASE_COMMIT}"
    if not folder.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        part = folder.with_suffix(f".{os.getpid()}")
        try:
            _git("clone", "--quiet", "--shared", "--no-checkout", str(HERE.parent), str(part))
            _git("-C", str(part), "checkout", "--quiet", "--detach", BASE_COMMIT)
        except subprocess.CalledProcessError:
            raise SystemExit(
                f"make bench compares with the commit {BASE_COMMIT}. It is not in this repository. "
                "Fetch it, or set BASE to a checkout of it."
            ) from None
        part.rename(folder)
    return folder


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


@dataclass(frozen=True)
class Server:
    site: Site
    port: int
    pid: int  # of gunicorn's master

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> list[psutil.Process]:
        """The master and then its workers, but not a PostgreSQL that one of them has started."""
        master = psutil.Process(self.pid)
        return [master, *(child for child in master.children() if child.name() != "postgres")]


@contextmanager
def server(
    site: Site = SMALL,
    code: Code = Code.NEW,
    changes: Mapping[str, str] | None = None,
    *,
    arguments: Sequence[str] = (),
) -> Iterator[Server]:
    """Start gunicorn as in production, and yield when it is ready. It is stopped after the block.

    `changes` are environment variables. Unless they say otherwise, all payments succeed.
    """
    with _launched(site, code, changes or {}, arguments) as started:
        _wait_until_ready(started)
        yield started


@contextmanager
def servers(*wanted: tuple[Code, Mapping[str, str]]) -> Iterator[list[Server]]:
    """Start several servers on the small site. The caller loads only one of them at a time."""
    with ExitStack() as stack:
        started = [stack.enter_context(_launched(SMALL, *each)) for each in wanted]
        for each in started:
            _wait_until_ready(each)
        yield started


@contextmanager
def _launched(
    site: Site, code: Code, changes: Mapping[str, str], arguments: Sequence[str] = ()
) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", code.value, *arguments],
        cwd=code.folder,
        env=site.environment
        | {"DJANGO_SETTINGS_MODULE": code.settings, "PORT": str(port)}
        | {"PAYMENT_SUCCESS_RATE": "1", "LOCK_TIMEOUT_MS": "2900"}
        | dict(changes),
    )
    try:
        yield Server(site, port, process.pid)
    finally:
        _stop(process)


def free_port() -> int:
    # Another server could already use a fixed port. With reuse_port, both would then share the connections.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(started: Server) -> None:
    deadline = time.monotonic() + 60
    while (
        time.monotonic() < deadline and psutil.Process(started.pid).status() != psutil.STATUS_ZOMBIE
    ):
        try:
            with urllib.request.urlopen(f"{started.url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The server did not become ready.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        print("The server did not stop within 60 seconds, so it is killed.", file=sys.stderr)
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()


@cache
def concerts_of(server: Server) -> list[str]:
    with urllib.request.urlopen(f"{server.url}/api/v1/concerts?limit=12", timeout=30) as answer:
        return [concert["id"] for concert in json.load(answer)]


@dataclass
class Look:
    """The state of a server in the middle of a run."""

    connections: list[int]  # one number for each worker
    megabytes: float  # of all processes together; shared memory is counted once


def look_at(server: Server) -> Look:
    processes = server.processes()
    sockets = _client_sockets(server.port)
    return Look(
        [sum(file in sockets for file in _open_files(worker.pid)) for worker in processes[1:]],
        sum(process.memory_full_info().pss for process in processes) / 2**20,
    )


ESTABLISHED = "01"  # a connection's state in /proc/net/tcp


def _client_sockets(port: int) -> set[str]:
    # psutil would take seconds for 5,000 connections, so we read the kernel's list ourselves.
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {
        f"socket:[{inode}]"
        for _, local, _, state, _, _, _, _, _, inode, *_ in rows
        if state == ESTABLISHED and local.endswith(f":{port:04X}")
    }


def _open_files(pid: int) -> Iterator[str]:
    for file in os.scandir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            yield os.readlink(file)
