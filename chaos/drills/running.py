"""What all drills need: the real system with a stage and a history, and what is said at the end."""

import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos import everybody, facts, referee
from chaos.gathering import Ledgers
from chaos.history import History, Recorder
from chaos.quiet import known_now, until_quiet
from chaos.stage import Stage
from chaos.system import HOME, System

QUIET_LIMIT = 120.0  # seconds


@dataclass
class Drill:
    """A system that runs, and what clients are told meanwhile."""

    system: System
    staged: Stage
    recorder: Recorder
    file: Path
    wrong: list[str] = field(default_factory=list)

    async def facts_now(self) -> facts.Facts:
        return await known_now(*self._where())

    async def facts_at_rest(self, *, limit: float) -> facts.Facts:
        """The facts when all has come to rest, or after `limit` seconds (chaos/quiet.py)."""
        return await until_quiet(*self._where(), limit=limit)

    def _where(self) -> tuple[Ledgers, list[str], float]:
        tiers = [tier.id for tier in self.staged.tiers]
        return self.system.ledgers, tiers, self.recorder.header.epoch


@dataclass
class Rest:
    """What was found when all had come to rest."""

    history: History
    facts: facts.Facts
    seconds: float  # until then
    wrong: list[str]  # a sentence each


@asynccontextmanager
async def running(
    name: str,
    staged: Stage,
    number: int,
    *,
    worker: bool = True,
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Drill]:
    """Start the system for so many clients, and stop it after the block.

    A folder of that name gets what it leaves.
    """
    folder = HOME / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system = System(folder, seed=1, settings=settings)
    file = folder / "history.jsonl"
    try:
        await system.start(worker=worker, cache=False)
        customers = everybody.customers(staged, number)
        failpoints = (settings or {}).get("FAILPOINTS", "")
        recorder = Recorder(file, seed=1, schedule=[], failpoints=failpoints, customers=customers)
        try:
            yield Drill(system, staged, recorder, file)
        finally:
            recorder.close()
    finally:
        await system.stop()


async def at_rest(drill: Drill, *, limit: float = QUIET_LIMIT) -> Rest:
    """Let everything run again, wait until all has come to rest, and judge. The clients have ended."""
    began = time.monotonic()
    await drill.system.calm()
    known = await drill.facts_at_rest(limit=limit)
    seconds = time.monotonic() - began
    known.write(drill.file.with_name("facts.json"))
    return judged(drill, known, seconds)


def judged(drill: Drill, known: facts.Facts, seconds: float) -> Rest:
    drill.recorder.close()
    history = History.read(drill.file)
    found = referee.judge(history, known)
    wrong = [f"{violation.check}: {violation.sentence}" for violation in found]
    return Rest(history, known, seconds, drill.system.problems + wrong)


def set_up() -> None:
    """Make the database of this process, and let SIGTERM end its servers too."""
    import django
    from django.core.management import call_command

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    django.setup()
    call_command("migrate", verbosity=0)


def copies(known: facts.Facts) -> int:
    """How many mails arrived more than once, counting each further copy."""
    return len(known.letters) - len({letter.message_id for letter in known.letters})


def end(wrong: list[str]) -> None:
    """Say what is wrong, and end the program."""
    load = " ".join(f"{each:.0f}" for each in os.getloadavg())
    print(f"load of the machine in the last 1, 5 and 15 minutes: {load}, on {os.cpu_count()} cores")
    for sentence in wrong[:40]:
        print("WRONG:", sentence)
    print(f"FAILED: {len(wrong)} things are wrong." if wrong else "All is well.", flush=True)
    sys.exit(1 if wrong else 0)
