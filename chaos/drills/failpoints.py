"""Every failpoint: the process that reaches it is killed 20 times, fails once, and stands still once.

One place after the other, so about half an hour: clients book, cancel, return, and staff call concerts off,
while whichever process passes the place is killed by chance. When that has happened 20 times the clients end.
Bookings, money and tickets have to be at rest 120 seconds after the last process has started again, and the
referee judges what clients were told. Mails go on at their own pace until all are sent. A place that is not
reached fails the drill. PLACES=lane.locked,refund.sent makes these; KILLS is the number.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path

from chaos import clients, everybody, stage
from chaos.drills.running import Rest, at_rest, copies, end, running, set_up
from chaos.history import OK
from chaos.quiet import with_connection

KILLS = int(os.environ.get("KILLS") or 20)
LIMIT = 600.0  # seconds until a place was reached as often as wanted
CLIENTS = 12
TO_CALL_OFF = 24  # concerts
STAYS: stage.Plan = [[("GA", 10, 100.0, None), ("VIP", 50, 50.0, 4)]]
CALLED_OFF: stage.Plan = [[("GA", 15, 1.0, None)]]
PLAN = STAYS * 12 + CALLED_OFF * TO_CALL_OFF
SETTINGS = {"HOLD_SECONDS": "2"}

# The chance that a process which passes the place is hit. Some are passed seldom.
CHANCE = 0.4
CHANCES = {"call_off": 1.0}
# Requests that break off after the charge leave holds that are resolved.
LEAVE_HOLDS = ",charge.answered=raise@0.3"


class Staff(clients.Staff):
    START_LIMIT = 180.0  # seconds; they are killed, and so start again and again


class BusyStaff(Staff):
    """Staff who call off one concert after the other, and do this and that meanwhile."""

    async def run(self, crowd: clients.Crowd) -> None:
        other = asyncio.create_task(super().run(crowd))
        caller = Staff(self.environment)
        caller.crowd = crowd
        await caller.start()
        try:
            await self._call_off(crowd, caller)
        finally:
            await caller.end()
        await other

    async def _call_off(self, crowd: clients.Crowd, caller: Staff) -> None:
        left = crowd.stage.concerts[-TO_CALL_OFF:]
        while not crowd.is_over():
            if left and (await caller.ask("call_off", {"concert": left[0]})).outcome == OK:
                left.pop(0)
            await asyncio.sleep(1)


def main() -> None:
    set_up()
    from bookings.failpoints import PLACES

    wanted = [name for name in os.environ.get("PLACES", "").split(",") if name] or list(PLACES)
    if unknown := set(wanted) - set(PLACES):
        sys.exit(f"There is no place {', '.join(unknown)}. The places are {', '.join(PLACES)}.")
    wrong = []
    for place in wanted:
        staged = with_connection(stage.set_up, CLIENTS, PLAN)
        wrong += [f"{place}: {sentence}" for sentence in asyncio.run(_visit(place, staged))]
    end(wrong)


async def _visit(place: str, staged: stage.Stage) -> list[str]:
    wanted = {"kill": KILLS, "raise": 1, "delay": 1}
    settings = SETTINGS | {"FAILPOINTS": _setting(place, wanted)}
    async with running(place, staged, CLIENTS, settings=settings) as drill:
        crowd = clients.Crowd(staged, drill.recorder, drill.system.url, 1, LIMIT)
        staff = BusyStaff(drill.system.environment())
        await staff.start()
        acting = asyncio.create_task(everybody.run(crowd, CLIENTS, staff))
        folder = drill.system.folder / "failpoints"
        began = time.monotonic()
        while (reached := _reached(folder, place)) != wanted and not acting.done():
            await asyncio.sleep(0.2)
        seconds = time.monotonic() - began
        crowd.seconds = drill.recorder.now()
        await acting
        await staff.end()
        rest = await at_rest(drill)
    print(
        f"{place:18} {reached['kill']} killed, {reached['raise']} failed, {reached['delay']} stood still "
        f"in {seconds:.0f} s; {len(rest.history.attempts)} requests; at rest after {rest.seconds:.0f} s; "
        f"{len(rest.facts.letters)} mails came, {copies(rest.facts)} of them once more; "
        f"{len(rest.wrong)} violations",
        flush=True,
    )
    missing = [] if reached == wanted else [f"it was reached {dict(reached)}, not {wanted}"]
    return missing + rest.wrong + _told_too_often(rest)


def _told_too_often(rest: Rest) -> list[str]:
    # A worker may be killed, or fail, after it has sent a mail and before it has noted that. The next worker
    # sends this mail again. So there may be one such mail for each kill, and for each error.
    most = KILLS + 1
    if copies(rest.facts) > most:
        return [f"{copies(rest.facts)} mails came once more, and {most} are explained."]
    return []


def _setting(place: str, wanted: dict[str, int]) -> str:
    chance = CHANCES.get(place.partition(".")[0], CHANCE)
    actions = {"kill": "kill", "raise": "raise", "delay": "delay 2"}
    entries = [f"{place}={actions[name]}@{chance}x{number}" for name, number in wanted.items()]
    leaves_holds = LEAVE_HOLDS if place.startswith("resolve.") else ""
    return ",".join(entries) + leaves_holds


def _reached(folder: Path, place: str) -> Counter[str]:
    names = [file.name.removeprefix(f"{place}.") for file in folder.glob(f"{place}.*")]
    return Counter(name.partition(".")[0] for name in names)


if __name__ == "__main__":
    main()
