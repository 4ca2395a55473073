"""The usual load: clients of chaos/, who book, look, cancel and return. They are judged by its referee."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

from chaos import clients, quiet, referee, stage
from chaos.gathering import Ledgers
from chaos.history import History, Recorder
from deploy.cluster import Cluster
from deploy.failover import figures
from deploy.failover.figures import Found
from deploy.failover.gateway import gateway
from deploy.layout import Layout
from ticketbook.environment import whole

CLIENTS = whole("CLIENTS", 8, 1, 500)
PLAN: stage.Plan = [[("GA", 10, 400.0, None), ("VIP", 50, 100.0, None)]] * 3
QUIET_LIMIT = 120.0  # seconds


class Customers:
    def __init__(self, where: Layout, name: str, folder: Path, number: int) -> None:
        self.staged = quiet.with_connection(stage.set_up, number, PLAN)
        self.ledgers = Ledgers(folder / "ledger.sqlite3", folder / "none.sqlite3")
        self.folder, self.file, self.number = folder, folder / "history.jsonl", number
        customers = {who: customer.email for who, customer in clients.buyers(self.staged, number)}
        self.recorder = Recorder(self.file, seed=1, schedule=[name], customers=customers)
        self.crowd = clients.Crowd(self.staged, self.recorder, where.site, 1, inf)

    @contextmanager
    def ready(self, cluster: Cluster) -> Iterator[None]:
        """Their payment gateway runs during the block."""
        with gateway(cluster, self.ledgers):
            yield

    async def start(self) -> None:
        buyers = [
            clients.Buyer(self.crowd, *each) for each in clients.buyers(self.staged, self.number)
        ]
        self.acting = asyncio.gather(*(buyer.run() for buyer in buyers))

    def booked(self) -> int:
        """How many bookings they have been told of so far."""
        return len(self.crowd.booked)

    async def end(self) -> None:
        self.crowd.seconds = self.recorder.now()
        await self.acting

    async def found(self) -> Found:
        """What they were told, and what is wrong with it when all has come to rest."""
        tiers, epoch = [tier.id for tier in self.staged.tiers], self.recorder.header.epoch
        known = await quiet.until_quiet(self.ledgers, tiers, epoch, limit=QUIET_LIMIT)
        known.write(self.folder / "facts.json")
        self.recorder.close()
        history = History.read(self.file)
        taken, booked = figures.money(known)
        return Found(
            history=history,
            lost=len(figures.lost(history, known)),
            taken=taken,
            booked=booked,
            wrong=[f"{each.check}: {each.sentence}" for each in referee.judge(history, known)],
        )
