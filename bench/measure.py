"""One run of one scenario: load it with k6 or pgbench, and say what came of it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from django.db import connection

from bench.site import PORT
from bookings.audit import audit
from concerts.models import TicketTier
from ticketbook.embedded import binary

HERE = Path(__file__).parent
K6 = Path(sys.executable).with_name("k6")
BOOKED = ("201", "402")


@dataclass
class Run:
    what: str
    clients: int
    rate: float  # answers of the wanted kind in a second
    p50: float  # milliseconds
    p99: float
    answers: dict[str, int] = field(default_factory=dict)  # by HTTP status
    cpu: dict[str, float] = field(default_factory=dict)  # cores
    differences: list[str] = field(default_factory=list)  # what the audit found

    def __str__(self) -> str:
        answers = " ".join(f"{status}:{n}" for status, n in sorted(self.answers.items()))
        cpu = " ".join(f"{name} {cores:.2f}" for name, cores in self.cpu.items())
        books = "audit clean" if not self.differences else "; ".join(self.differences)
        return (
            f"{self.what:9} {self.clients:5} clients {self.rate:7.0f}/s"
            f"  p50 {self.p50:7.1f} ms  p99 {self.p99:8.1f} ms  {answers}  CPU {cpu}  {books}"
        )


def over_http(
    what: str, tier: TicketTier, tokens: list[str], *, clients: int, seconds: int, web: int
) -> Run:
    """`what` names one of the acts of load.js; `web` is the process id of the server."""
    before, start = cpu_seconds(web), time.monotonic()
    metrics = k6(what, tier, tokens, clients, seconds)
    took, after = time.monotonic() - start, cpu_seconds(web)
    answers = {
        name.removeprefix("answers_"): int(values["values"]["count"])
        for name, values in metrics.items()
        if name.startswith("answers_") and values["values"]["count"]
    }
    times = metrics["http_req_duration"]["values"]
    return Run(
        what,
        clients,
        sum(answers.get(status, 0) for status in BOOKED) / took,
        times["med"],
        times["p(99)"],
        answers,
        cores(before, after, took),
        audit(),
    )


def k6(
    what: str, tier: TicketTier, tokens: list[str], clients: int, seconds: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder, "data.json"), Path(folder, "summary.json")
        data.write_text(json.dumps({"tokens": tokens, "tiers": [str(tier.pk)]}))
        environment = {
            "BASE": f"http://127.0.0.1:{PORT}",
            "DATA": str(data),
            "KIND": what,
            "VUS": str(clients),
            "SECONDS": str(seconds),
            "OUT": str(out),
        }
        subprocess.run(
            [str(K6), "run", "--quiet", "--no-usage-report", str(HERE / "load.js")],
            env=os.environ | environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        metrics: dict[str, Any] = json.loads(out.read_text())
        return metrics


def by_pgbench(tier: TicketTier, customer: str, *, clients: int, seconds: int) -> Run:
    """The statements of one booking without any Python."""
    params = connection.get_connection_params()
    command = [str(binary("pgbench")), "-n", "-f", str(HERE / "one_booking.sql"), "-M", "prepared"]
    command += ["-c", str(clients), "-j", "2", "-T", str(seconds)]
    command += ["-D", f"tier={tier.pk}", "-D", f"concert={tier.concert_id}"]
    command += ["-D", f"customer={customer}"]
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
    return Run("pgbench", clients, rate, latency, float("nan"), differences=audit())


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
