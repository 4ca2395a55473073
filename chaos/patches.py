"""make chaos-patches: TicketBook broken on purpose, to try the referee.

Each file chaos/patches/*.patch is a plausible mistake. Its head says what the mistake is, which check of the
referee has to catch it, and in which of RUNS. For each patch the files of the repository are copied to a
scratch folder, the patch is applied there, and the run is made with the copy. The check has to find a
violation; and in the same run without a patch, the control, no check may find one.

ONLY=no_lock,given_back_twice makes these; QUICK=1 those of QUICK, for CI. JOBS=1 makes one run at a time,
not two. The exit code is 1 if a patch does not apply, is not caught, or a control is not clean. The histories
and verdicts are left in .data/chaos/patches.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from chaos.facts import Facts

ROOT = Path(__file__).parent.parent
PATCHES = Path(__file__).parent / "patches"
HOME = Path(os.environ.get("CHAOS_HOME") or ".data/chaos").absolute() / "patches"

# Mistakes that show without a race, and in two RUNS only, so that two controls are enough.
QUICK = [
    "one_ticket_a_booking",
    "limit_not_counted",
    "declined_keeps_its_tickets",
    "resolved_by_a_timer_alone",
    "refund_without_a_stable_key",
]


@dataclass(frozen=True)
class Run:
    """What is done to the system, so that a kind of mistake shows in a few seconds."""

    seconds: float = 8
    requests: int = 0  # at least: on a busy machine the clients go on until there were so many
    clients: int = 12
    customers: int | None = None  # fewer customers mean more clients of each
    tickets: int = 1  # so many times the usual number
    schedule: str = ""
    failpoints: str = ""  # delays widen the windows of races
    # Other weights than usual: of customers, of staff, at the desk, and at the payment page.
    wishes: Mapping[str, int] = field(default_factory=dict)
    staff: Mapping[str, int] = field(default_factory=dict)
    desk: Mapping[str, int] = field(default_factory=dict)
    buttons: Mapping[str, int] = field(default_factory=dict)
    bursts: float = 0.1  # how often a client asks many times at once what is available
    # Seconds after the last fault. A control may wait longer, until lost jobs are found again.
    quiet: float = 20


RUNS = {
    # Many clients of few customers, and slow transactions.
    "crowd": Run(
        customers=4,
        failpoints="lane.locked=delay 0.05@0.5,lane.written=delay 0.1@0.5",
        wishes={"book": 60, "book_again": 12},
    ),
    # A crowd that only buys, until all is sold.
    "rush": Run(
        clients=24,
        customers=6,
        tickets=3,
        failpoints="lane.written=delay 0.3",
        wishes={"book": 100, "book_again": 12, "cancel": 0, "return": 0},
    ),
    "lost_commits": Run(
        schedule="1.5 cut_before_commit 6; 4 cut_before_commit 6; 6 cut_before_commit 4"
    ),
    "lost_answers": Run(schedule="1.5 gateway lost 5"),
    "gateway_down": Run(schedule="2 gateway down 4", wishes={"cancel": 30}),
    "forgetful_gateway": Run(schedule="0.5 gateway lost 5; 5.5 gateway forgets 5"),
    # Requests that stand still until their holds were resolved, before their charge and after it.
    "late_requests": Run(
        schedule="0.5 gateway decline 4",
        failpoints="charge.begins=delay 9@0.25,charge.answered=delay 9@0.25",
    ),
    "failing_lanes": Run(
        failpoints="lane.locked=delay 0.2,lane.written=raise@0.3", wishes={"book": 80}
    ),
    "calling_off": Run(failpoints="charge.answered=delay 1.5@0.5", wishes={"book": 80}),
    "late_writes": Run(
        failpoints="settle.begins=delay 1@0.5", wishes={"look_up": 40, "my_bookings": 20}
    ),
    "cut_connections": Run(schedule="; ".join(f"{second} cut_all" for second in range(1, 8))),
    # Holds are left behind. They have to be resolved long before the limit.
    "killed": Run(
        schedule="2 kill_web 0; 4.5 kill_web 1; 7 kill_web 0",
        failpoints="charge.answered=delay 0.5",
        wishes={"book": 80},
        quiet=60,
    ),
    # Customers who have seen an old price.
    "prices": Run(wishes={"book": 80, "availability": 2}, staff={"price": 300}),
    # Staff who press many buttons.
    "office": Run(
        seconds=16,
        requests=500,
        wishes={"cancel": 2, "return": 2},
        desk={"move": 40, "publish": 25, "unpublish": 40, "book_for": 4, "add_tickets": 25},
    ),
    "returns": Run(requests=300, wishes={"return": 50, "cancel": 30}),
    # Few customers, who return some tickets, keep the others, and come again.
    "regulars": Run(
        requests=600,
        customers=3,
        tickets=3,
        wishes={"book": 60, "return": 40, "cancel": 0, "meddle": 0},
    ),
    "borrowed_keys": Run(wishes={"borrow_key": 40}),
    # So many that they are answered from copies.
    "browsers": Run(requests=600, wishes={"availability": 30}, bursts=1),
    "two_gateways": Run(schedule="0 with_page", wishes={"book": 30, "book_again": 60}),
    # Nobody pays, and no worker looks after it.
    "abandoned_payments": Run(
        seconds=14,
        schedule="0 with_page; 0 no_worker",
        wishes={"book": 40, "book_again": 30, "my_bookings": 20},
        buttons={"pay": 0, "late": 0, "nothing": 100},
    ),
}
QUIET_LIMIT_OF_CONTROLS = 120.0  # seconds after the last fault
LIMIT = 240.0  # seconds for a whole run, in case something hangs
SEED = 11
TRIES = 3  # of a patch; on a busy machine a race may not happen


@dataclass(frozen=True)
class Patch:
    name: str
    file: Path
    mistake: str
    caught_by: str
    run: str


HEAD = re.compile(
    r"(?P<mistake>.+?)\n\nCaught by: (?P<check>\w+)\nRun: (?P<run>\w+)\n\ndiff ", re.S
)


def patches() -> list[Patch]:
    """All patches, by name. Raises ValueError for a head that says not what it has to."""
    return [_read(file) for file in sorted(PATCHES.glob("*.patch"))]


def _read(file: Path) -> Patch:
    match = HEAD.match(file.read_text())
    if match is None or match["run"] not in RUNS:
        raise ValueError(f"{file.name} does not begin with a mistake, a check and one of RUNS.")
    mistake = match["mistake"].replace("\n", " ")
    return Patch(file.stem, file, mistake, match["check"], match["run"])


def copy_of_repository(folder: Path) -> Path:
    """Copy the files as they are now, but those that git ignores, into a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    shutil.rmtree(folder, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # else it was deleted and is still in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if (
        ROOT / ".static" / "made-of.txt"
    ).exists():  # so that its servers need not collect them again
        shutil.copytree(ROOT / ".static", folder / ".static")
    return folder


def why_not(patch: Patch, folder: Path) -> str:
    """Why the patch does not apply to the files in this folder, or nothing. It changes nothing."""
    return _git_apply(["--check", str(patch.file)], folder)


def _git_apply(arguments: list[str], folder: Path) -> str:
    # Without the ceiling, git would take a folder in .data for a part of the repository, and skip its files.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        ["git", "apply", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.stderr.strip() if done.returncode else ""


# --- A run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a run has shown."""

    seconds: float
    violations: list[dict[str, Any]]
    unsettled: set[str] = field(default_factory=set)  # bookings that have not come to rest
    error: str = ""  # why there is no verdict

    def of(self, check: str) -> list[str]:
        """What this check has found, but for what may only be late."""
        return [
            found["sentence"]
            for found in self.violations
            if found["check"] == check and not self.unsettled & set(found["rows"])
        ]

    def checks(self) -> str:
        return ", ".join(dict.fromkeys(found["check"] for found in self.violations))


_running: set[subprocess.Popen[bytes]] = set()


def _end(number: int, frame: object) -> NoReturn:
    # By default a signal would end this process only, and leave the runs with their servers.
    for process in list(_running):
        process.terminate()
    for process in list(_running):
        process.wait(60)
    os._exit(128 + number)


def make_run(
    name: str, copy: Path, home: Path, log: Path, *, quiet_limit: float, seed: int
) -> Outcome:
    """Make one of RUNS with a copy of the repository. `home` has its database."""
    run = RUNS[name]
    environment = os.environ | {
        "CHAOS_HOME": str(home),
        "CLIENTS": str(run.clients),
        "SECONDS": str(run.seconds),
        "REQUESTS": str(run.requests),
        "SEED": str(seed),
        "SCHEDULE": run.schedule,
        "SHRINK": "0",
        "JOBS": "1",  # of a run; ours are runs at a time
        "FAILPOINTS": run.failpoints,
    }
    began = time.monotonic()
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos.patches", "in-a-copy", name, str(quiet_limit)],
            cwd=copy,
            env=environment,
            stdout=output,
            stderr=output,
        )
        _running.add(process)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends its servers
            process.wait(60)
        finally:
            _running.discard(process)
    seconds = time.monotonic() - began
    folder = home / "runs" / str(seed)
    try:
        verdict: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    except (OSError, ValueError):
        return Outcome(seconds, [], error=f"there is no verdict, see {log}")
    facts = Facts.read(folder / "facts.json")
    unsettled = {pk for pk, row in facts.bookings.items() if row.status == "PENDING"}
    unsettled |= {refund.booking for refund in facts.refunds if refund.status == "DUE"}
    return Outcome(seconds, verdict["violations"], unsettled)


def _in_a_copy(name: str, quiet_limit: float) -> None:
    # In a process of its own, whose modules are those of the copy.
    from chaos import __main__ as chaos
    from chaos import clients, desk, stage

    run = RUNS[name]
    chaos.QUIET_LIMIT = quiet_limit
    clients.WISHES |= run.wishes
    clients.STAFF_WISHES |= run.staff
    desk.WISHES |= run.desk
    clients.BURSTS = run.bursts
    clients.BUTTONS |= run.buttons
    stage.CONCERTS = [
        [(kind, price, share * run.tickets, limit) for kind, price, share, limit in tiers]
        for tiers in stage.CONCERTS
    ]
    usual = stage.set_up

    def with_few_customers(clients: int, plan: stage.Plan | None = None) -> stage.Stage:
        staged = usual(clients, plan)
        staged.customers = staged.customers[: run.customers]
        return staged

    stage.set_up = with_few_customers
    chaos.main()


# --- All of them ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    result: str
    seconds: float
    good: bool

    def __str__(self) -> str:
        return (
            f"{'' if self.good else 'NOT '}OK  {self.name:32} {self.seconds:4.0f} s  {self.result}"
        )


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    wanted = _wanted(os.environ.get("ONLY", ""), quick=bool(os.environ.get("QUICK")))
    HOME.mkdir(parents=True, exist_ok=True)
    control = copy_of_repository(HOME / "control")
    template = _template(control)
    controls = dict.fromkeys(patch.run for patch in wanted)
    began, rows = time.monotonic(), []
    with ThreadPoolExecutor(int(os.environ.get("JOBS") or 2)) as pool:
        tried = pool.map(partial(try_patch, template=template), wanted)
        clean = pool.map(partial(try_control, copy=control, template=template), controls)
        for row in _in_turn(tried, clean):
            print(row, flush=True)
            rows.append(row)
    bad = [row.name for row in rows if not row.good]
    print(
        f"{len(wanted)} patches and {len(controls)} controls in {time.monotonic() - began:.0f} s."
    )
    if bad:
        sys.exit(f"Not as they should be: {', '.join(bad)}")


def _in_turn(*results: Iterable[Row]) -> Iterator[Row]:
    for each in results:
        yield from each


def _wanted(only: str, *, quick: bool) -> list[Patch]:
    known = {patch.name: patch for patch in patches()}
    names = [name.strip() for name in only.split(",") if name.strip()]
    names = names or (QUICK if quick else list(known))
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"There is no patch {', '.join(unknown)}. The patches are {', '.join(known)}.")
    return [known[name] for name in names]


def _template(copy: Path) -> Path:
    """A database with its tables, which each run gets a copy of."""
    folder = HOME / "template"
    shutil.rmtree(folder, ignore_errors=True)
    make = "from chaos import system, __main__; __main__._set_up()"
    environment = os.environ | {"CHAOS_HOME": str(folder)}
    subprocess.run([sys.executable, "-c", make], cwd=copy, env=environment, check=True)
    return folder


def try_patch(patch: Patch, *, template: Path) -> Row:
    """Apply it to a copy, run that, and look whether the check that it names finds a violation."""
    folder = copy_of_repository(HOME / patch.name)
    if error := why_not(patch, folder) or _git_apply([str(patch.file)], folder):
        return Row(patch.name, f"it does not apply: {error}", 0, False)
    limit, seconds = RUNS[patch.run].quiet, 0.0
    for number in range(TRIES):
        found = _run_in_new_home(
            patch.run, patch.name, folder, template, quiet_limit=limit, seed=SEED + number
        )
        seconds += found.seconds
        if said := found.of(patch.caught_by):
            break
    shutil.rmtree(folder)
    if said:
        again = f" at try {number + 1}" if number else ""
        return Row(patch.name, f"caught by {patch.caught_by}{again}: {said[0]}", seconds, True)
    result = found.error or f"not caught by {patch.caught_by}; by {found.checks() or 'nothing'}"
    return Row(patch.name, result, seconds, False)


def try_control(name: str, *, copy: Path, template: Path) -> Row:
    """The run without a patch: no check may find anything."""
    limit = QUIET_LIMIT_OF_CONTROLS
    found = _run_in_new_home(name, f"control-{name}", copy, template, quiet_limit=limit)
    result = found.error or "; ".join(
        f"{each['check']}: {each['sentence']}" for each in found.violations
    )
    return Row(f"control of {name}", result or "no violation", found.seconds, not result)


def _run_in_new_home(
    run: str, name: str, copy: Path, template: Path, *, quiet_limit: float, seed: int = SEED
) -> Outcome:
    home = HOME / f"{name}.home"
    shutil.rmtree(home, ignore_errors=True)
    # Not shutil.copytree, which would not keep the owner: as root, the database belongs to another user.
    subprocess.run(["cp", "-a", str(template), str(home)], check=True)
    log = HOME / f"{name}.log"
    found = make_run(run, copy, home, log, quiet_limit=quiet_limit, seed=seed)
    shutil.rmtree(home / "site", ignore_errors=True)  # the database; the history stays
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["in-a-copy"]:
        _in_a_copy(sys.argv[2], float(sys.argv[3]))
    else:
        main()
