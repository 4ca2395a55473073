"""What failpoints cost when they are off: one booking with them, and with a copy that does not have them.

About five minutes. Both place the same bookings, one after the other, in a process without a web server.
Counted are the statements (by pg_stat_statements), the round trips (by a proxy), the calls of functions (by
Python's profiler), and with valgrind, if it is installed, the instructions. Statements and round trips have
to be equal, and calls to less than one for each booking. The machine's instructions vary a little from run
to run, so both are measured REPEATS times in turn, and the ranges are shown.
"""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos import stage
from chaos.drills.running import end, set_up
from chaos.patches import ROOT, copy_of_repository
from chaos.proxy import Proxy
from chaos.quiet import with_connection
from chaos.system import DATA_DIR, HOME, SETTINGS

BOOKINGS = 100  # in each measurement
REPEATS = int(os.environ.get("REPEATS") or 3)
PLAN: stage.Plan = [[("GA", 10, 1_000_000.0, None)]]
# The program that is measured pays with the gateway that comes along.
OTHER_SETTINGS = {
    "PAYMENT_GATEWAY": "",
    "PAYMENT_SUCCESS_RATE": "1",
    "FAILPOINTS": "",
    "CACHE_URL": "",
    "PYTHONHASHSEED": "0",
}
WHERE_THEY_ARE_SET_UP = """\
        if settings.FAILPOINTS:  # before anybody keeps a reference to a function that it wraps
            failpoints.install(settings.FAILPOINTS)
"""
STATEMENTS = """
SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
WHERE userid = (SELECT oid FROM pg_roles WHERE rolname = 'ticketbook') AND toplevel
"""
MOST_APART = 0.005  # of the instructions, between the medians


class Program:
    """A process that places bookings when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._read("ready")

    def place(self) -> int:
        """Place BOOKINGS. Returns the function calls that they took, or 0 if nobody counts them."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        return int(self._read("done")[1])

    def _read(self, word: str) -> list[str]:
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if words[:1] != [word]:
            raise SystemExit(f"The program that places bookings said {words}, not {word}.")
        return words


def main() -> None:
    set_up()
    staged = with_connection(stage.set_up, 1, PLAN)
    codes = {"with": ROOT, "without": _without_failpoints()}
    bench = Bench(staged)
    wrong = []
    counted = {name: bench.count(folder) for name, folder in codes.items()}
    print(f"{BOOKINGS} bookings: statements, round trips, calls of functions")
    for name, numbers in counted.items():
        print(f"  {name:8} failpoints: {', '.join(f'{number:,}' for number in numbers)}")
    # A timer that fires in between makes a few calls more, whatever the code.
    more = [a - b for a, b in zip(counted["with"], counted["without"], strict=True)]
    if any(more[:2]) or more[2] >= BOOKINGS:
        wrong.append(f"Failpoints that are off cost something: {counted}.")
    if shutil.which("valgrind") is None:
        print("valgrind is not installed, so instructions were not counted.")
    else:
        wrong += _instructions(bench, codes)
    bench.proxy.stop()
    end(wrong)


def _without_failpoints() -> Path:
    folder = copy_of_repository(HOME / "without-failpoints")
    (folder / "bookings" / "failpoints.py").unlink()
    apps = folder / "bookings" / "apps.py"
    text = apps.read_text()
    for part in ("from bookings import failpoints\n", WHERE_THEY_ARE_SET_UP):
        if part not in text:
            raise SystemExit(f"{apps} does not have these lines any more:\n{part}")
        text = text.replace(part, "")
    apps.write_text(text)
    return folder


class Bench:
    """What is measured, and with which settings."""

    def __init__(self, staged: stage.Stage) -> None:
        from ticketbook.embedded import membership, roles

        params = membership.join(DATA_DIR)
        self.superuser = membership.join_as_superuser(DATA_DIR) | {"dbname": roles.DATABASE}
        self.proxy = Proxy(lambda: int(params["port"]))
        self.proxy.start()
        login = f"{params['user']}:{params['password']}"
        where = f"127.0.0.1:{self.proxy.port}/{roles.DATABASE}?sslmode=disable"
        database = {"DATABASE_URL": f"postgres://{login}@{where}", "DATA_DIR": str(HOME / "data")}
        self.environment = os.environ | SETTINGS | OTHER_SETTINGS | database
        self.arguments = [staged.tiers[0].id, staged.customers[0].email, str(BOOKINGS)]

    @contextmanager
    def program(self, folder: Path, *more: str, under: Sequence[str] = ()) -> Iterator[Program]:
        # The program of this folder, with the code of the other one.
        command = [*under, sys.executable, str(Path(__file__).with_name("some_bookings.py"))]
        process = subprocess.Popen(
            [*command, *self.arguments, *more],
            cwd=folder,
            env=self.environment | {"PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield Program(process)
        finally:
            process.communicate(timeout=60)

    def count(self, folder: Path) -> tuple[int, int, int]:
        """Statements, round trips and calls of functions."""
        import psycopg

        params: Any = self.superuser
        with (
            psycopg.connect(**params, autocommit=True) as superuser,
            self.program(folder) as program,
        ):
            superuser.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            before = superuser.execute(STATEMENTS).fetchone(), self.proxy.round_trips
            program.place()
            after = superuser.execute(STATEMENTS).fetchone(), self.proxy.round_trips
        with self.program(folder, "calls") as program:
            calls = min(program.place() for _ in range(3))  # a timer may make one more
        assert before[0] is not None
        assert after[0] is not None
        return after[0][0] - before[0][0], after[1] - before[1], calls

    def instructions(self, folder: Path) -> int:
        """Instructions of one booking, as callgrind counts them."""
        file = HOME / "callgrind.out"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        with self.program(folder, under=[*valgrind, f"--callgrind-out-file={file}"]) as program:
            self._control("on", program)
            program.place()
            self._control("off", program)
        [line] = [line for line in file.read_text().splitlines() if line.startswith("totals:")]
        return int(line.split()[1]) // BOOKINGS

    @staticmethod
    def _control(switch: str, program: Program) -> None:
        command = ["callgrind_control", "-i", switch, str(program.process.pid)]
        subprocess.run(command, check=True, capture_output=True)


def _instructions(bench: Bench, codes: dict[str, Path]) -> list[str]:
    found: dict[str, list[int]] = {name: [] for name in codes}
    for _ in range(REPEATS):
        for name, folder in codes.items():
            found[name].append(bench.instructions(folder))
    print("instructions of one booking, by callgrind:")
    for name, numbers in found.items():
        print(f"  {name:8} failpoints: {', '.join(f'{number:,}' for number in numbers)}")
    without, with_them = (statistics.median(found[name]) for name in ("without", "with"))
    more = with_them / without - 1
    print(f"  the medians differ by {more:+.2%}")
    return [f"Failpoints that are off cost {more:+.2%} instructions."] if more > MOST_APART else []


if __name__ == "__main__":
    main()
