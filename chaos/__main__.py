"""make chaos: clients, faults, and a referee who reads what happened.

Starts the real system, lets clients book while faults strike, waits until all has come to rest, and judges.
The environment sets SEED (else a random one), ROUNDS (1; each takes the next seed), SECONDS (40) and CLIENTS
(12). QUICK=1 is a round of 20 seconds. With REQUESTS=1000 clients go on until there were so many, however
busy the machine is. With JOBS=2 two processes play rounds at the same time, each with a database of its own:
one is at rest while the other is busy. The same seed makes the same schedule of faults, and the clients wish
for the same. SCHEDULE='12.5 kill_web 0; 14 cut_at_commit 3' makes exactly these faults, and SCHEDULE='' none.
FAILPOINTS (bookings/failpoints.py) reaches the site under test and nothing else.

Each round leaves history.jsonl, facts.json, verdict.json and the logs in .data/chaos/runs/SEED, or in
.data/chaos/job-0/runs/SEED; `python -m chaos.report` makes a table of them. A round that breaks a promise is
run again without one fault after the other (SHRINK=0: it is not), and the shortest schedule that still fails
is printed. The exit code is 1 then.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from chaos import clients, everybody, facts, faults, referee, report, stage
from chaos.faults import Planned
from chaos.history import BUSY_MACHINE, History, Recorder
from chaos.quiet import until_quiet, with_connection
from chaos.system import FAILPOINTS, HOME, System

QUICK = bool(os.environ.get("QUICK"))
SECONDS = float(os.environ.get("SECONDS") or (20 if QUICK else 40))
CLIENTS = int(os.environ.get("CLIENTS") or 12)
REQUESTS = int(os.environ.get("REQUESTS") or 0)
ROUNDS = int(os.environ.get("ROUNDS") or 1)
JOBS = int(os.environ.get("JOBS") or 1)
STEP = int(os.environ.get("STEP") or 1)  # from one seed to the next, in one of several jobs
SHRINK = os.environ.get("SHRINK", "1") != "0"
QUIET_LIMIT = 120.0  # seconds after the last fault
STOOD_STILL = 1.0  # seconds for which nothing happened here


@dataclass
class Result:
    """A round, and what was found."""

    history: History
    facts: facts.Facts
    verdict: referee.Verdict
    problems: list[str] = field(default_factory=list)  # of the processes themselves
    quiet_after: float = 0.0  # seconds

    @property
    def failed(self) -> bool:
        return bool(self.verdict.violations or self.problems)


def main() -> None:
    # By default SIGTERM would end this process at once, and leave its servers running.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    if JOBS > 1:
        _share_out(seed)
    _set_up()
    failed = []
    for number in range(seed, seed + ROUNDS * STEP, STEP):
        schedule = _schedule(number)
        try:
            result = play(number, schedule, HOME / "runs" / str(number))
        except Exception:  # one round that cannot be played does not end the others
            traceback.print_exc()
            failed.append(number)
            continue
        _print(result)
        if result.failed:
            failed.append(number)
            if SHRINK and schedule:
                print("It is run again with fewer faults.")
                short = faults.printed(faults.shortest(schedule, partial(_fails, number)))
                print(f"The shortest schedule that fails: SEED={number} SCHEDULE='{short}'")
    if ROUNDS > 1:
        print(f"{ROUNDS} rounds, {len(failed)} of them failed: {failed}")
    sys.exit(1 if failed else 0)


def _share_out(seed: int) -> NoReturn:
    """Let JOBS processes play the rounds, and end with the report."""
    began, running = time.monotonic(), []
    try:
        for number in range(JOBS):
            home = HOME / f"job-{number}"
            home.mkdir(parents=True, exist_ok=True)
            share = {"JOBS": 1, "STEP": JOBS, "SEED": seed + number, "CHAOS_HOME": home}
            share |= {"ROUNDS": len(range(number, ROUNDS, JOBS)), "FAILPOINTS": FAILPOINTS}
            environment = os.environ | {name: str(value) for name, value in share.items()}
            print(f"Job {number} writes {home / 'log'}.", flush=True)
            with open(home / "log", "w") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-u", "-m", "chaos"],
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.terminate()  # it ends its servers
    print(f"{time.monotonic() - began:.0f} s")
    print(report.text(report.rounds(HOME)))
    sys.exit(max(codes))


def _set_up() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _schedule(seed: int) -> list[Planned]:
    text = os.environ.get("SCHEDULE")
    try:
        return faults.planned(seed, SECONDS) if text is None else faults.parse(text)
    except ValueError as exc:
        sys.exit(f"SCHEDULE: {exc}")


def _fails(seed: int, schedule: list[Planned]) -> bool:
    return play(seed, schedule, HOME / "runs" / f"{seed}-shrinking").failed


# --- One round --------------------------------------------------------------------------------------------


def play(seed: int, schedule: list[Planned], folder: Path) -> Result:
    """Run one round, and judge it. `folder` is emptied, and gets the history, the facts and the verdict."""
    print(
        f"SEED={seed} SECONDS={SECONDS:g} CLIENTS={CLIENTS} SCHEDULE='{faults.printed(schedule)}'"
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    staged = with_connection(stage.set_up, CLIENTS)
    return asyncio.run(_play(seed, schedule, folder, staged))


async def _play(seed: int, schedule: list[Planned], folder: Path, staged: stage.Stage) -> Result:
    names = {planned.name for planned in schedule}
    system = System(folder, seed)
    try:
        await system.start(
            worker="no_worker" not in names,
            cache="with_cache" in names,
            page="with_page" in names,
        )
        staff = clients.Staff(system.environment())
        await staff.start()
        file = folder / "history.jsonl"
        plan = [str(planned) for planned in schedule]
        recorder = Recorder(
            file,
            seed=seed,
            schedule=plan,
            failpoints=FAILPOINTS,
            customers=everybody.customers(staged, CLIENTS),
        )
        crowd = clients.Crowd(staged, recorder, system.url, seed, SECONDS, REQUESTS)
        await asyncio.gather(
            everybody.run(crowd, CLIENTS, staff),
            faults.inject(schedule, system, recorder),
            _watch(recorder, crowd),
        )
        await staff.end()
        recorder.close()
        await system.calm()
        calm = time.monotonic()
        tiers = [tier.id for tier in staged.tiers]
        known = await until_quiet(system.ledgers, tiers, recorder.header.epoch, limit=QUIET_LIMIT)
        quiet_after = time.monotonic() - calm
    finally:
        await system.stop()
    history = History.read(file)
    result = Result(history, known, referee.verdict(history, known), system.problems, quiet_after)
    known.write(folder / "facts.json")
    verdict = asdict(result.verdict) | {"problems": result.problems, "quiet_after": quiet_after}
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=1))
    return result


async def _watch(recorder: Recorder, crowd: clients.Crowd) -> None:
    """Write down when this machine had no time for us, so that nobody is blamed for it."""
    while not crowd.is_over():
        began = recorder.now()
        await asyncio.sleep(0.1)
        if recorder.now() > began + STOOD_STILL:
            with recorder.fault(BUSY_MACHINE, {"arguments": []}) as fault:
                fault.began = began


# --- What is printed --------------------------------------------------------------------------------------


def _print(result: Result) -> None:
    history, known = result.history, result.facts
    answers = Counter(
        (attempt.verb, attempt.outcome, attempt.code or attempt.status)
        for attempt in history.attempts
    )
    print(f"{len(history.attempts)} requests:")
    for verb in dict.fromkeys(attempt.verb for attempt in history.attempts):
        told = "; ".join(
            f"{outcome} {what}: {number}"
            for (name, outcome, what), number in sorted(answers.items(), key=lambda item: -item[1])
            if name == verb
        )
        print(f"  {verb}: {told}")
    print("faults:")
    for fault in sorted(history.faults, key=lambda fault: fault.began):
        arguments = " ".join(fault.request["arguments"])
        print(f"  {fault.began:6.2f}–{fault.ended:.2f} {fault.name} {arguments}  {fault.note}")
    states = Counter(f"{row.status} {row.payment_status}" for row in known.bookings.values())
    print("bookings:", "; ".join(f"{state}: {number}" for state, number in states.most_common()))
    print(
        f"money: {len(known.captures)} captures, {len(known.sent_back)} refunds; "
        f"quiet {result.quiet_after:.0f} s after the last fault"
    )
    for name, seconds in _recoveries(history):
        print(f"first new booking {seconds:.1f} s after PostgreSQL was up again ({name})")
    print(
        "checks:",
        "; ".join(f"{name} ({things})" for name, things in result.verdict.examined.items()),
    )
    for sentence in result.verdict.undecided:
        print("not decided:", sentence)
    for problem in result.problems:
        print("PROBLEM:", problem)
    for violation in result.verdict.violations[:40]:
        print(f"VIOLATION {violation.check}: {violation.sentence}")
        print(
            f"  clients {violation.clients}, requests {violation.requests}, rows {violation.rows}"
        )
    print("FAILED" if result.failed else "No promise was broken.")


def _recoveries(history: History) -> Iterator[tuple[str, float]]:
    for fault in history.faults:
        if fault.name in RESTARTS:
            booked = [
                attempt.ended
                for attempt in history.attempts
                if attempt.verb == "book"
                and attempt.status == 201
                and not attempt.replayed
                and attempt.ended > fault.ended
            ]
            if booked:
                yield fault.name, min(booked) - fault.ended


RESTARTS = {"kill_postmaster", "restart_fast", "restart_immediate"}


if __name__ == "__main__":
    main()
