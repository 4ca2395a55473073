"""One fault: load, the fault, what clients feel, the mending, and what is found afterwards."""

import asyncio
import os
import shutil
from pathlib import Path

from deploy import patroni
from deploy.cluster import Cluster
from deploy.failover import figures
from deploy.failover.arrivals import Arrivals
from deploy.failover.customers import CLIENTS, Customers
from deploy.failover.environment import RATE, read_from_leader
from deploy.failover.figures import Figures, Found
from deploy.failover.logs import ReadOnlyErrors
from deploy.faults import FAULTS, mend

BEFORE, AFTER = (
    5.0,
    5.0,
)  # seconds of load before the fault, and when everything is in its place again
BROKEN = 15.0  # seconds that a fault lasts at least
LATE = 5.0  # seconds after a member took over, from which no statement may meet a read-only server
STALLED = 60.0  # seconds after which a fault is mended although nobody took over or nothing is acknowledged
REJOIN_LIMIT = 180.0


def run(cluster: Cluster, name: str, folder: Path) -> Figures:
    """Strike once, and return what it cost. The folder gets the journal, the facts and the figures."""
    where = cluster.layout
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    current = where.home / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder)
    read_from_leader(where)
    load = Arrivals(where, name, folder, RATE) if RATE else Customers(where, name, folder, CLIENTS)
    with load.ready(cluster):
        found = asyncio.run(Drill(cluster, name, load).play())
    found.write(folder)
    return found


class Drill:
    """A cluster under load, and what happens to it."""

    def __init__(self, cluster: Cluster, name: str, load: Customers | Arrivals) -> None:
        self.cluster, self.name, self.fault = cluster, name, FAULTS[name]
        self.where = cluster.layout
        self.load, self.recorder = load, load.recorder
        self.refused = ReadOnlyErrors(self.where)
        self.hit, self.struck_at, self.ended_at, self.busy = "", 0.0, 0.0, 0.0
        self.took_over_at: float | None = None
        self.rejoins: float | None = None

    async def play(self) -> Figures:
        await self.load.start()
        await asyncio.sleep(BEFORE)
        with self.recorder.fault(self.name, {"arguments": []}) as noted:
            await self._strike()
            noted.note = self.hit
            await self._mend()
        await asyncio.sleep(AFTER)
        self.busy = os.getloadavg()[0]
        self.ended_at = self.recorder.now()
        await self.load.end()
        late = self.refused.count() if self.took_over_at is not None else 0
        leader = await asyncio.to_thread(read_from_leader, self.where)
        return self._figures(await self.load.found(), leader, late)

    async def _strike(self) -> None:
        before = patroni.leader(self.where, limit=30).number
        self.struck_at = self.recorder.now()
        self.hit = await asyncio.to_thread(self.fault.strike, self.where)
        if self.fault.moves:

            def moved() -> bool:
                return any(
                    each.leads
                    and each.number != before
                    and patroni.takes_writes(self.where, each.number)
                    for each in patroni.members(self.where)
                )

            if await asyncio.to_thread(patroni.wait, moved, limit=STALLED):
                self.took_over_at = self.recorder.now()
                await asyncio.sleep(LATE)
                self.refused.begin()
        booked = self.load.booked()
        stalled = self.recorder.now() + STALLED
        while self.load.booked() == booked and self.recorder.now() < stalled:
            await asyncio.sleep(0.1)
        await asyncio.sleep(max(0.0, self.struck_at + BROKEN - self.recorder.now()))

    async def _mend(self) -> None:
        began = self.recorder.now()
        await asyncio.to_thread(mend, self.where)
        if await asyncio.to_thread(patroni.wait, self.cluster.is_whole, limit=REJOIN_LIMIT):
            self.rejoins = round(self.recorder.now() - began, 1)

    def _figures(self, found: Found, leader: str, late: int) -> Figures:
        took, history = self.took_over_at, found.history
        gap = figures.longest_gap(history, since=self.struck_at, until=self.ended_at)
        return Figures(
            fault=self.name,
            hit=self.hit,
            gap=round(gap, 2),
            takes_over=None if took is None else round(took - self.struck_at, 1),
            rejoins=self.rejoins,
            bookings=sum(map(figures.is_acknowledged, history.attempts)),
            errors=figures.errors_of(history, since=self.struck_at),
            lost=found.lost,
            late_read_only=late,
            leader=leader,
            taken=found.taken,
            booked=found.booked,
            load=round(self.busy, 1),
            wrong=found.wrong,
            arrivals=found.arrivals,
        )
