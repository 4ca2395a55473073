"""One fault: load, the fault, what clients feel, the mending, and what the referee finds."""

import asyncio
import os
import shutil
from math import inf
from pathlib import Path

from chaos import clients, quiet, referee, stage
from chaos.facts import Facts
from chaos.gathering import Ledgers
from chaos.history import History, Recorder
from deploy import patroni
from deploy.cluster import Cluster
from deploy.failover import figures
from deploy.failover.environment import read_from_leader
from deploy.failover.figures import Figures
from deploy.failover.gateway import gateway
from deploy.failover.logs import ReadOnlyErrors
from deploy.faults import FAULTS, mend
from ticketbook.environment import whole

CLIENTS = whole("CLIENTS", 8, 1, 500)
PLAN: stage.Plan = [[("GA", 10, 400.0, None), ("VIP", 50, 100.0, None)]] * 3
BEFORE, AFTER = (
    5.0,
    5.0,
)  # seconds of load before the fault, and when everything is in its place again
BROKEN = 15.0  # seconds that a fault lasts at least
LATE = 5.0  # seconds after a member took over, from which no statement may meet a read-only server
STALLED = 60.0  # seconds after which a fault is mended although nobody took over or nothing is acknowledged
REJOIN_LIMIT = 180.0
QUIET_LIMIT = 120.0


def run(cluster: Cluster, name: str, folder: Path) -> Figures:
    """Strike once, and return what it cost. The folder gets the journal, the facts and the figures."""
    where = cluster.layout
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    current = where.home / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder)
    read_from_leader(where)
    staged = quiet.with_connection(stage.set_up, CLIENTS, PLAN)
    ledgers = Ledgers(folder / "ledger.sqlite3", folder / "none.sqlite3")
    with gateway(cluster, ledgers):
        found = asyncio.run(Drill(cluster, name, folder, staged, ledgers).play())
    found.write(folder)
    return found


class Drill:
    """A cluster under load, and what happens to it."""

    def __init__(
        self, cluster: Cluster, name: str, folder: Path, staged: stage.Stage, ledgers: Ledgers
    ) -> None:
        self.cluster, self.name, self.fault = cluster, name, FAULTS[name]
        self.where = cluster.layout
        self.staged, self.ledgers = staged, ledgers
        self.folder, self.file = folder, folder / "history.jsonl"
        customers = {who: customer.email for who, customer in clients.buyers(staged, CLIENTS)}
        self.recorder = Recorder(self.file, seed=1, schedule=[name], customers=customers)
        self.crowd = clients.Crowd(staged, self.recorder, self.where.site, 1, inf)
        self.refused = ReadOnlyErrors(self.where)
        self.hit, self.struck_at, self.load = "", 0.0, 0.0
        self.took_over_at: float | None = None
        self.rejoins: float | None = None

    async def play(self) -> Figures:
        buyers = [clients.Buyer(self.crowd, *each) for each in clients.buyers(self.staged, CLIENTS)]
        acting = asyncio.gather(*(buyer.run() for buyer in buyers))
        await asyncio.sleep(BEFORE)
        with self.recorder.fault(self.name, {"arguments": []}) as noted:
            await self._strike()
            noted.note = self.hit
            await self._mend()
        await asyncio.sleep(AFTER)
        self.load = os.getloadavg()[0]
        self.crowd.seconds = self.recorder.now()
        await acting
        late = self.refused.count() if self.took_over_at is not None else 0
        return await self._judged(late)

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
        booked = len(self.crowd.booked)
        stalled = self.recorder.now() + STALLED
        while len(self.crowd.booked) == booked and self.recorder.now() < stalled:
            await asyncio.sleep(0.1)
        await asyncio.sleep(max(0.0, self.struck_at + BROKEN - self.recorder.now()))

    async def _mend(self) -> None:
        began = self.recorder.now()
        await asyncio.to_thread(mend, self.where)

        if await asyncio.to_thread(patroni.wait, self.cluster.is_whole, limit=REJOIN_LIMIT):
            self.rejoins = round(self.recorder.now() - began, 1)

    async def _judged(self, late: int) -> Figures:
        leader = await asyncio.to_thread(read_from_leader, self.where)
        tiers = [tier.id for tier in self.staged.tiers]
        epoch = self.recorder.header.epoch
        known = await quiet.until_quiet(self.ledgers, tiers, epoch, limit=QUIET_LIMIT)
        known.write(self.folder / "facts.json")
        self.recorder.close()
        history = History.read(self.file)
        return self._figures(history, known, leader, late)

    def _figures(self, history: History, known: Facts, leader: str, late: int) -> Figures:
        took = self.took_over_at
        taken, booked = figures.money(known)
        return Figures(
            fault=self.name,
            hit=self.hit,
            gap=round(
                figures.longest_gap(history, since=self.struck_at, until=self.crowd.seconds), 2
            ),
            takes_over=None if took is None else round(took - self.struck_at, 1),
            rejoins=self.rejoins,
            bookings=sum(map(figures.is_acknowledged, history.attempts)),
            errors=figures.errors_of(history, since=self.struck_at),
            lost=len(figures.lost(history, known)),
            late_read_only=late,
            leader=leader,
            taken=taken,
            booked=booked,
            load=round(self.load, 1),
            wrong=[f"{each.check}: {each.sentence}" for each in referee.judge(history, known)],
        )
