"""Runs the faults that FAULTS names, REPEAT times each, and writes the report.

    make failover-test FAULTS="primary_machine*20 switchover*5 web" REPEAT=2 KEEP=1 CLIENTS=8 POOLER=on

    make failover-test FAULTS="rolling_restart switchover" RATE=200 KEEP=1

FAULTS are all by default. KEEP=1 adds to the figures of earlier runs. QUICK=1 tries two faults, and leaves
deploy/FAILOVER.md as it is. RATE is how many bookings a second come, instead of those of the usual clients.
"""

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from deploy import disks, networks
from deploy.cluster import running
from deploy.failover import report
from deploy.failover.environment import (  # before Django is set up
    PLAIN,
    USUAL,
    of_the_site,
    with_networks,
    with_small_disks,
)
from deploy.failover.figures import Figures
from deploy.failover.planned import planned
from deploy.faults import FAULTS
from deploy.layout import Layout
from deploy.members import NotStarted
from deploy.packages import MissingPackages
from ticketbook.environment import whole

QUICK = "primary_machine postmaster"
RUNS = USUAL.home / "runs"
# The clusters that faults need. Each is started once.
CLUSTERS = {"": lambda: PLAIN, "networks": with_networks, "disks": with_small_disks}
REPORT = Path(__file__).parent.parent / "FAILOVER.md"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    quick = bool(os.environ.get("QUICK"))
    try:
        wanted = os.environ.get("FAULTS") or (QUICK if quick else " ".join(FAULTS))
        plan = list(planned(wanted, usual=whole("REPEAT", 1, 1, 1000)))
        if not os.environ.get("KEEP"):
            shutil.rmtree(RUNS, ignore_errors=True)
        not_tried = _play(plan)
    except (ValueError, NotStarted, MissingPackages, ImproperlyConfigured) as exc:
        sys.exit(str(exc))
    from deploy.failover.customers import CLIENTS

    found = _earlier()
    text = report.text(found, clients=CLIENTS, not_tried=not_tried)
    place = USUAL.home / "FAILOVER.md" if quick else REPORT
    place.write_text(text)
    print(f"\nThe report is in {place}.")
    failures = [f"{each.fault}: {what}" for each in found for what in each.failures()]
    for sentence in failures[:40]:
        print("WRONG:", sentence)
    print(f"FAILED: {len(failures)} things are wrong." if failures else "All is well.")
    sys.exit(1 if failures else 0)


def _play(plan: Sequence[str]) -> list[str]:
    """Strike them all. Returns what could not be tried, a sentence each."""
    not_tried = []
    for kind, cluster in CLUSTERS.items():
        names = [name for name in plan if _kind_of(name) == kind]
        if names:
            try:
                _strike(cluster(), names)
            except (networks.NoNetworks, disks.NoDisks) as exc:
                print(exc)
                not_tried.append(f"{', '.join(names)}: {exc}")
    return not_tried


def _kind_of(name: str) -> str:
    needs = FAULTS[name].needs
    return needs if needs in CLUSTERS else ""


def _strike(where: Layout, names: Sequence[str]) -> None:
    import django

    django.setup()
    with running(where, of_the_site(where)) as cluster:
        from deploy.failover.run import run

        for name in names:
            print(f"{name}: {FAULTS[name].what}…", flush=True)
            number = len(list(RUNS.glob("*"))) + 1
            print(report.row(run(cluster, name, RUNS / f"{number:03}-{name}")), flush=True)


def _earlier() -> list[Figures]:
    return [Figures.read(file.parent) for file in sorted(RUNS.glob("*/figures.json"))]


if __name__ == "__main__":
    main()
