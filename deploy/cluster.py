"""Starts, watches and stops all parts of the cluster on this machine."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
import psycopg

from deploy import configuration, disks, etcd, members, networks, packages, patroni
from deploy.layout import LOCAL, MEMBERS, Layout
from deploy.members import NotStarted
from deploy.parts import Part, family
from ticketbook.embedded import binaries
from ticketbook.environment import BASE_DIR

WATCH = 0.2  # seconds
START_LIMIT = 180.0  # seconds for the primary behind HAProxy, and again for the site
STOP_LIMIT = 60.0


class Cluster:
    """All parts. `settings` are variables of the site's environment beside deploy/config/ticketbook.env."""

    def __init__(self, layout: Layout, settings: Mapping[str, str] | None = None) -> None:
        self.layout = layout
        self.settings = dict(settings or {})
        self.problems: list[str] = []
        self._lock: IO[str] | None = None
        self._watching = threading.Event()
        self._watcher: threading.Thread | None = None

    # --- Up ---------------------------------------------------------------------------------------

    def start(self, say: Callable[[str], object] = lambda text: None) -> None:
        """Start everything, and return when the site is ready. Raises NotStarted, MissingPackages."""
        packages.check()
        self._claim()
        packages.install(self.layout)
        networks.up(self.layout)
        disks.up(self.layout)
        configuration.make_folders(self.layout)
        configuration.write(self.layout)
        self.parts = {part.name: part for part in self._parts()}
        for file in self.layout.down.iterdir():
            file.unlink()
        say("Starting etcd and three PostgreSQL members under Patroni…")
        self._watch()
        members.bring_up(self.layout, self._start, say)
        say("Starting HAProxy, PgBouncer and Valkey…")
        self._start("haproxy", "pgbouncer", "valkey")
        self._await(self._takes_writes, "The primary behind HAProxy")
        say("Preparing the database…")
        self.manage("migrate", "--verbosity=0", "--no-input")
        say("Starting two web servers and a worker…")
        self._start("web1", "web2", "worker")
        self._await(
            lambda: all(is_ready(self.layout, name) for name in ("web1", "web2", "site")),
            "The site",
        )

    def _claim(self) -> None:
        self._lock = open(self.layout.home / "lock", "w")  # noqa: SIM115 - kept for as long as we live
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock = None
            raise NotStarted(f"A cluster runs already in {self.layout.home}.") from None
        self._end_leftovers()
        if taken := next(filter(_is_taken, self.layout.all_ports), None):
            raise NotStarted(
                f"Port {taken[1]} is in use. Stop what uses it, or choose other ports: "
                "make cluster CLUSTER_PORT=18100"
            )

    def _end_leftovers(self) -> None:
        # Of a cluster whose process was killed: its PostgreSQL, if Patroni was killed too.
        for member in MEMBERS:
            if process := postmaster(self.layout, member):
                process.send_signal(signal.SIGINT)
                with suppress(psutil.TimeoutExpired):
                    process.wait(STOP_LIMIT)

    def _parts(self) -> Iterator[Part]:
        layout, config = self.layout, self.layout.config
        for n in MEMBERS:
            namespace = networks.name(layout, n)
            etcd = [_program("etcd"), "--config-file", str(config / f"e{n}.yml")]
            yield Part(f"e{n}", *etcd, folder=layout.home, namespace=namespace)
            yield Part(
                f"n{n}",
                *packages.patroni(layout),
                str(config / f"n{n}.yml"),
                folder=layout.home,
                namespace=namespace,
                stop_limit=STOP_LIMIT,
            )
        haproxy = [_program("haproxy"), "-db", "-f", str(config / "haproxy.cfg")]
        yield Part("haproxy", *haproxy, folder=layout.home, stop_limit=3)
        yield Part(
            "pgbouncer", _program("pgbouncer"), str(config / "pgbouncer.ini"), folder=layout.home
        )
        yield Part(
            "valkey", packages.valkey(layout), str(config / "valkey.conf"), folder=layout.home
        )
        for name in ("web1", "web2"):
            port = {"PORT": str(layout.port_of(name))}
            yield self._own(name, "-m", "gunicorn", "ticketbook.asgi", environment=port)
        yield self._own("worker", "manage.py", "procrastinate", "worker")

    def _own(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Part:
        # A process of TicketBook's own.
        return Part(
            name,
            sys.executable,
            *command,
            folder=self.layout.home,
            environment=self.environment() | dict(environment or {}),
            as_server_user=False,
            stop_limit=30,
        )

    def environment(self) -> dict[str, str]:
        """The environment of the site: that of this process, deploy/config/ticketbook.env, and `settings`."""
        lines = (self.layout.config / "ticketbook.env").read_text().splitlines()
        told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        if os.environ.get("POOLER") == "on":
            told |= {
                "DATABASE_POOLER": "transaction",
                "DATABASE_DIRECT_URL": told["DATABASE_URL"],
                "DATABASE_URL": self.layout.database_url(self.layout.port_of("pooler")),
            }
        return os.environ | told | {"DATA_DIR": str(self.layout.home / "site")} | self.settings

    def manage(self, *command: str) -> str:
        """Run a command of manage.py for the site. Returns what it prints. Raises NotStarted if it fails."""
        code, said = self.ask(*command)
        if code:
            raise NotStarted(f"manage.py {command[0]} failed: {said}")
        return said

    def ask(self, *command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command of manage.py for the site. Returns its exit code, and what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=BASE_DIR,
            env=self.environment() | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def _start(self, *names: str) -> None:
        for name in names:
            self.parts[name].down.unlink(missing_ok=True)
            self.parts[name].start()

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        if not patroni.wait(condition, limit=START_LIMIT):
            raise NotStarted(
                f"{what} did not become ready within {START_LIMIT:.0f} seconds: "
                f"see {self.layout.logs}."
            )

    def _takes_writes(self) -> bool:
        try:
            url = self.layout.database_url(self.layout.port_of("primary"))
            with psycopg.connect(url, connect_timeout=3) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                return row == (False,)
        except psycopg.Error:
            return False

    def is_ready(self) -> bool:
        """Whether the site answers that it is ready, through HAProxy."""
        return is_ready(self.layout, "site")

    def is_whole(self) -> bool:
        """Whether every part runs, etcd and PostgreSQL are in their places, and the site is ready."""
        return (
            all(part.lives() for part in self.parts.values())
            and len(etcd.serving(self.layout)) == len(MEMBERS)
            and patroni.all_in_place(self.layout)
            and self.is_ready()
        )

    # --- Watching ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._watching.set()
        self._watcher = threading.Thread(target=self._keep_up, daemon=True)
        self._watcher.start()

    def _keep_up(self) -> None:
        while self._watching.is_set():
            for part in self.parts.values():
                if part.starts and self._watching.is_set():
                    part.keep_up()
            time.sleep(WATCH)

    # --- Down -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop everything: what asks before what is asked, and the leader after its standbys."""
        self._watching.clear()
        if self._watcher is not None:
            self._watcher.join()
        if hasattr(self, "parts"):
            for name in (
                "web1",
                "web2",
            ):  # together, because each serves for STOP_NOTICE_SECONDS yet
                self.parts[name].begin_to_stop()
            for part in self._in_order():
                for process in family(part.process.pid) if part.process and part.lives() else []:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGCONT)  # a frozen one would not stop
                part.stop()
        if self._lock is not None:
            self._end_leftovers()
            networks.down(self.layout)
            disks.down(self.layout)
            self._lock.close()

    def _in_order(self) -> list[Part]:
        try:
            last = [patroni.leader(self.layout).name]
        except patroni.NoLeader:
            last = []
        standbys = [f"n{n}" for n in MEMBERS if f"n{n}" not in last]
        etcd = [f"e{n}" for n in MEMBERS]
        site = ["worker", "web1", "web2", "pgbouncer", "haproxy", "valkey"]
        return [self.parts[name] for name in (*site, *standbys, *last, *etcd)]


@contextmanager
def running(layout: Layout, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster that is started before the block and stopped after it."""
    cluster = Cluster(layout, settings)
    try:
        cluster.start(say=lambda text: print(text, flush=True))
        yield cluster
    finally:
        cluster.stop()


def is_ready(layout: Layout, name: str) -> bool:
    """Whether a web server, or the site, answers that it is ready."""
    try:
        address = f"http://{LOCAL}:{layout.port_of(name)}/readyz"
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def postmaster(layout: Layout, member: int) -> psutil.Process | None:
    """The main process of a member's PostgreSQL, if it runs."""
    return running_server(layout.data(member))


def running_server(data: Path) -> psutil.Process | None:
    """The main process of the PostgreSQL that serves this folder, if it runs."""
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        if process.name() == "postgres" and str(data) in process.cmdline():
            return process
    except (psutil.Error, OSError, ValueError, IndexError):
        pass
    return None


def _program(name: str) -> str:
    found = packages.find(name)
    if found is None:
        raise packages.MissingPackages(f"{name} is not installed.")
    return found


def _is_taken(where: tuple[str, int]) -> bool:
    host, port = where
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host if host.startswith("127.") else "127.0.0.1", port))
        except OSError:
            return True
    return False


def as_server_user(program: str, *args: str) -> str:
    """Run a program of PostgreSQL as the servers' user. Returns what it prints. Raises NotStarted."""
    done = binaries.run(program, *args)
    if done.returncode:
        raise NotStarted(f"{program} failed: {done.stdout}{done.stderr}".strip())
    return done.stdout
