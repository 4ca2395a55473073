"""One run: load a server with k6, or PostgreSQL with pgbench, and say what came of it."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from bench.site import SMALL, Site

HERE = Path(__file__).parent
K6 = Path(sys.executable).with_name("k6")
# What each kind of load is after; anything else is a refusal or an error.
WANTED = {"book": ("201", "402"), "textbook": ("201",), "nothing": ("201",)}
REFUSALS = ("402", "409")  # answers of the contract, no errors


@dataclass
class Run:
    what: str
    clients: int
    rate: float  # answers of the wanted kind in a second
    p50: float  # milliseconds
    p99: float
    answers: dict[str, int] = field(default_factory=dict)  # by HTTP status
    cpu: dict[str, float] = field(default_factory=dict)  # cores
    metrics: dict[str, Any] = field(default_factory=dict)  # all that k6 has measured

    @property
    def errors(self) -> dict[str, int]:
        fine = ("200", "201", "202", *REFUSALS)
        return {status: n for status, n in self.answers.items() if status not in fine}

    def __str__(self) -> str:
        answers = " ".join(f"{status}:{n}" for status, n in sorted(self.answers.items()))
        cpu = " ".join(f"{name} {cores:.2f}" for name, cores in self.cpu.items())
        return (
            f"{self.what:22} {self.clients:5} clients {self.rate:7.0f}/s"
            f"  p50 {self.p50:7.1f} ms  p99 {self.p99:8.1f} ms  {answers}  CPU {cpu}"
        )


def over_http(
    kind: str,
    *,
    clients: int,
    seconds: float,
    web: int,
    site: Site = SMALL,
    name: str = "",
    tiers: list[UUID] | None = None,
    concerts: list[str] | None = None,
    tokens: list[str] | None = None,
    arrivals: int = 0,
) -> Run:
    """Load `site`, whose server has the process id `web`; `kind` names one of the acts of load.js."""
    data = {
        "tokens": tokens or site.tokens(),
        "tiers": [str(tier) for tier in tiers or []],
        "concerts": concerts or [],
    }
    environment = {"BASE": site.base, "KIND": kind, "VUS": str(clients), "SECONDS": str(seconds)}
    if arrivals:
        environment["RATE"] = str(arrivals)
    before = cpu_seconds(web)
    summary = k6(data, environment)
    after, took, metrics = cpu_seconds(web), summary["seconds"], summary["metrics"]
    answers = {
        name.removeprefix("answers_"): int(values["values"]["count"])
        for name, values in metrics.items()
        if name.startswith("answers_") and values["values"]["count"]
    }
    times = metrics["http_req_duration"]["values"]
    good = sum(answers.get(status, 0) for status in WANTED.get(kind, ("200",)))
    run = Run(
        name or kind,
        clients,
        good / took,
        times["med"],
        times["p(99)"],
        answers,
        cores(before, after, took),
        metrics,
    )
    print(run, flush=True)
    return run


def warm_up(web: int, tier: UUID, site: Site = SMALL) -> None:
    """Connections, prepared statements and caches are there before anything counts."""
    over_http("book", name="(to warm up)", clients=64, seconds=1, web=web, site=site, tiers=[tier])


def k6(data: dict[str, Any], environment: dict[str, str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "data.json"), Path(folder, "summary.json")
        source.write_text(json.dumps(data))
        subprocess.run(
            [str(K6), "run", "--quiet", "--no-usage-report", str(HERE / "load.js")],
            env=os.environ | environment | {"DATA": str(source), "OUT": str(out)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return json.loads(out.read_text())


def by_pgbench(tier_id: UUID, *, clients: int, seconds: float) -> Run:
    """The statements of one booking without any Python."""
    from django.db import connection

    from accounts.models import User
    from concerts.models import TicketTier
    from ticketbook.embedded import binary

    params = connection.get_connection_params()
    values = {
        "tier": tier_id,
        "concert": TicketTier.objects.get(pk=tier_id).concert_id,
        "customer": User.objects.values_list("pk", flat=True)[0],
    }
    command = [str(binary("pgbench")), "-n", "-f", str(HERE / "one_booking.sql"), "-M", "prepared"]
    command += ["-c", str(clients), "-j", "2", "-T", str(round(seconds))]
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
    run = Run("pgbench", clients, rate, latency, float("nan"))
    print(run, flush=True)
    return run


def cpu_seconds(web: int) -> dict[int, tuple[str, float]]:
    """CPU seconds so far of every process of ours, by its id, with the part that it belongs to."""
    server = psutil.Process(web)
    parts = {process.pid: "web" for process in [server, *server.children(recursive=True)]}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "postgres":
            parts[process.pid] = "database"
    own = os.times()
    seconds = {0: ("load", own.children_user + own.children_system)}
    for pid, part in parts.items():
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            seconds[pid] = part, times.user + times.system
    return seconds


def cores(
    before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]], took: float
) -> dict[str, float]:
    """How many cores each part kept busy."""
    busy = dict.fromkeys(("web", "database", "load"), 0.0)
    for pid, (part, seconds) in after.items():
        busy[part] += (seconds - before.get(pid, (part, 0.0))[1]) / took
    return busy
