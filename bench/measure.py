"""One run: load a server with wrk, or PostgreSQL with pgbench, and return what was measured."""

import json
import os
import resource
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil

from bench.servers import HERE, Look, Server, concerts_of, look_at
from bench.site import READERS, Site, new_tier

# The statuses that the rate of a kind of load counts; for kinds not listed here it is 200.
WANTED = {
    "book": ("201", "402"),
    "hold": ("202",),
    "textbook": ("201",),
    "nothing": ("201",),
    "junk": ("401",),
    "form": ("303",),
    "guest": ("303",),
}
FINE = ("200", "201", "202", "303", "401", "402", "409")  # every other status is an error
OPEN_FILES = 8192  # enough for 5,000 connections


@dataclass
class Run:
    what: str
    clients: int
    rate: float  # answers a second that were wanted
    p50: float  # milliseconds
    p99: float
    answers: dict[str, int] = field(default_factory=dict)  # by HTTP status
    cpu: dict[str, float] = field(default_factory=dict)  # cores that each part kept busy
    look: Look | None = None

    @property
    def errors(self) -> dict[str, int]:
        return {status: n for status, n in self.answers.items() if status not in FINE}

    def __str__(self) -> str:
        answers = " ".join(f"{status}:{n}" for status, n in sorted(self.answers.items()))
        cpu = " ".join(f"{name} {cores:.2f}" for name, cores in self.cpu.items())
        look = f"  {self.look.connections} {self.look.megabytes:.0f} MB" if self.look else ""
        return (
            f"{self.what:36} {self.clients:5} connections {self.rate:7.0f}/s"
            f"  p50 {self.p50:7.1f} ms  p99 {self.p99:8.1f} ms  {answers}  CPU {cpu}{look}"
        )


def require_tools() -> None:
    """Allow this process enough open files; end the program if that is impossible or wrk is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit(
            "The benchmarks need the load generator wrk. Install it: apt-get install wrk"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise SystemExit(
            f"The benchmarks open up to {OPEN_FILES} files, but `ulimit -Hn` allows only {hard}."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def over_http(
    kind: str,
    to: Server,
    *,
    clients: int,
    seconds: int,
    name: str = "",
    tiers: int = 1,
    skip: int = 0,
    look: bool = False,
    words: Mapping[str, list[str]] | None = None,
) -> Run:
    """Load the server for `skip` and then `seconds` seconds; `kind` is a key of `acts` in load.lua.

    The rate and the answers leave out the first `skip` seconds. The latencies include them.
    `words` are more lines for load.lua.
    """
    lines = {
        "tokens": to.site.tokens()[: READERS if kind == "mine" else None],
        "sessions": to.site.sessions(),
        "tiers": [str(new_tier()) for _ in range(tiers)] if kind in WANTED else [],
        "concerts": concerts_of(to),
        **(words or {}),
    }
    before = cpu_seconds(to)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "words")
        data.write_text("".join(f"{key} {' '.join(value)}\n" for key, value in lines.items()))
        environment = {"WORDS": str(data), "KIND": kind, "SKIP": str(skip), "CLIENTS": str(clients)}
        with _wrk(to, environment, clients, seconds + skip) as process:
            time.sleep((seconds + skip) / 2)
            seen = look_at(to) if look else None
            out, _ = process.communicate(timeout=seconds + skip + 60)
    figures = json.loads(out.splitlines()[-1])
    took, answers = figures["seconds"], figures["answers"]
    good = sum(answers.get(status, 0) for status in WANTED.get(kind, ("200",)))
    run = Run(
        name or kind,
        clients,
        good / took,
        figures["p50"],
        figures["p99"],
        answers,
        cores(before, cpu_seconds(to), took + skip),
        seen,
    )
    print(run, flush=True)
    return run


def warm_up(*servers: Server) -> None:
    # The measured run then finds open connections, prepared statements and filled caches.
    for to in servers:
        over_http("book", to, name="(to warm up)", clients=64, seconds=1)


def _wrk(
    to: Server, environment: dict[str, str], clients: int, seconds: int
) -> subprocess.Popen[str]:
    command = ["wrk", "--threads", "1", "--connections", str(clients)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s"]
    seed = str(secrets.randbelow(2**31))
    return subprocess.Popen(
        [*command, "--script", str(HERE / "load.lua"), to.url],
        env=os.environ | environment | {"SEED": seed},
        stdout=subprocess.PIPE,
        text=True,
    )


def by_pgbench(tier_id: UUID, *, clients: int, seconds: int) -> Run:
    from django.db import connection

    from accounts.models import User
    from concerts.models import TicketTier
    from ticketbook.embedded.binaries import binary

    params = connection.get_connection_params()
    values = {
        "tier": tier_id,
        "concert": TicketTier.objects.get(pk=tier_id).concert_id,
        "customer": User.objects.values_list("pk", flat=True)[0],
    }
    command = [str(binary("pgbench")), "-n", "-f", str(HERE / "one_booking.sql"), "-M", "prepared"]
    command += ["-c", str(clients), "-j", "2", "-T", str(seconds)]
    command += [f"--define={name}={value}" for name, value in values.items()]
    command += ["-h", params["host"], "-p", str(params["port"]), "-U", params["user"]]
    done = subprocess.run(
        [*command, params["dbname"]],
        env=os.environ | {"PGPASSWORD": params["password"]},
        check=True,
        capture_output=True,
        text=True,
    )
    figures = dict(line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
    rate = float(figures["tps"].split()[0])
    latency = float(figures["latency average"].split()[0])
    # pgbench reports no percentiles, so its average stands in for the median.
    run = Run("pgbench", clients, rate, latency, float("nan"))
    print(run, flush=True)
    return run


def cpu_seconds(of: Server) -> dict[int, tuple[str, float]]:
    """Return for each process id its part (web, database or load) and the CPU seconds it has used."""
    parts = {process.pid: "web" for process in of.processes()}
    postmaster = psutil.Process(_postmaster_of(of.site))
    parts |= {process.pid: "database" for process in (postmaster, *postmaster.children())}
    own = os.times()  # its children's times are those of the load generators that have ended
    seconds = {0: ("load", own.children_user + own.children_system)}
    for pid, part in parts.items():
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            seconds[pid] = part, times.user + times.system
    return seconds


def _postmaster_of(site: Site) -> int:
    return int((site.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def cores(
    before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]], took: float
) -> dict[str, float]:
    """Return how many cores each part kept busy during `took` seconds, on average."""
    busy = dict.fromkeys(("web", "database", "load"), 0.0)
    for pid, (part, seconds) in after.items():
        busy[part] += (seconds - before.get(pid, (part, 0.0))[1]) / took
    return busy
