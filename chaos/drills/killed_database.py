"""PostgreSQL is killed with SIGKILL under load 20 times.

About six minutes. No booking that a client was told of is lost, as the referee finds. The first new booking
comes within 10 seconds of each restart, and from then on nobody gets a 5xx. KILLS is the number.
"""

import asyncio
import os
import random
import signal
import statistics
from collections import Counter
from dataclasses import dataclass
from math import inf

from chaos import clients, everybody, stage
from chaos.drills.running import Drill, at_rest, end, running, set_up
from chaos.history import Attempt, History
from chaos.quiet import with_connection

KILLS = int(os.environ.get("KILLS") or 20)
CLIENTS = 12
PLAN: stage.Plan = [[("GA", 10, 400.0, None), ("VIP", 50, 100.0, None)]] * 3
FIRST_LIMIT = 10.0  # seconds from the restart to the first new booking
WAIT = 30.0  # seconds for it, before the next kill
LOAD = 6.0  # seconds of load after it
# As it is by default with the embedded server. A shorter one also ends waits that come from a busy machine.
SETTINGS = {"LOCK_TIMEOUT_MS": "2000"}


@dataclass(frozen=True)
class Recovery:
    """A kill, and what came after it; times are seconds on the history's clock."""

    up: float
    first: float  # the first new booking; inf if there was none
    failed: list[Attempt]  # later requests that got a 5xx

    @property
    def seconds(self) -> float:
        return self.first - self.up


def main() -> None:
    set_up()
    staged = with_connection(stage.set_up, CLIENTS, PLAN)
    end(asyncio.run(_drill(staged)))


async def _drill(staged: stage.Stage) -> list[str]:
    async with running("killed_database", staged, CLIENTS, settings=SETTINGS) as drill:
        crowd = clients.Crowd(staged, drill.recorder, drill.system.url, 1, inf)
        staff = clients.Staff(drill.system.environment())
        await staff.start()
        acting = asyncio.create_task(everybody.run(crowd, CLIENTS, staff))
        await asyncio.sleep(LOAD)
        for _ in range(KILLS):
            await _kill(drill, crowd)
        crowd.seconds = drill.recorder.now()
        await acting
        await staff.end()
        rest = await at_rest(drill)
    recoveries = _recoveries(rest.history)
    _print(rest.history, recoveries, rest.seconds)
    return rest.wrong + _wrong(recoveries)


async def _kill(drill: Drill, crowd: clients.Crowd) -> None:
    with drill.recorder.fault("kill_postmaster", {"arguments": []}) as fault:
        fault.note = await drill.system.restart_database(signal.SIGKILL, random.uniform(0, 2))
    before = len(crowd.booked)
    deadline = drill.recorder.now() + WAIT
    while len(crowd.booked) == before and drill.recorder.now() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(LOAD + random.random())


def _recoveries(history: History) -> list[Recovery]:
    faults = sorted(history.faults, key=lambda fault: fault.began)
    ends = [fault.began for fault in faults[1:]] + [inf]
    return [_recovery(history, fault.ended, end) for fault, end in zip(faults, ends, strict=True)]


def _recovery(history: History, up: float, end: float) -> Recovery:
    meanwhile = [each for each in history.attempts if each.ended > up and each.ended < end]
    new = [
        each.ended
        for each in meanwhile
        if each.verb == "book" and each.status == 201 and not each.replayed
    ]
    first = min(new, default=inf)
    failed = [each for each in meanwhile if each.began > first and each.status >= 500]
    return Recovery(up, first, failed)


def _print(history: History, recoveries: list[Recovery], rest: float) -> None:
    seconds = [recovery.seconds for recovery in recoveries]
    print("seconds from each restart to the first new booking:")
    print("  ", " ".join(f"{each:.2f}" for each in seconds))
    print(f"   median {statistics.median(seconds):.2f}, worst {max(seconds):.2f}")
    failed = Counter(each.status for recovery in recoveries for each in recovery.failed)
    print("5xx after that, until the next kill:", dict(failed) or "none")
    statuses = Counter(attempt.status for attempt in history.attempts)
    print(f"{len(history.attempts)} requests: {dict(statuses.most_common())}")
    print(f"at rest {rest:.0f} s after the last client")


def _wrong(recoveries: list[Recovery]) -> list[str]:
    wrong = []
    for number, recovery in enumerate(recoveries, 1):
        if recovery.seconds > FIRST_LIMIT:
            wrong.append(
                f"Kill {number}: the first new booking came after {recovery.seconds:.1f} s."
            )
        for each in recovery.failed:
            wrong.append(
                f"Kill {number}: {each.client} (request {each.n}, {each.verb}) got {each.status} "
                f"{each.began - recovery.first:.2f} s after the first new booking."
            )
    return wrong


if __name__ == "__main__":
    main()
