"""A trial of backup and restore: sell, back up, sell on, restore to a named second, and look at the result.

It has to be so: the restored books agree with themselves (audit). Every booking that a client was told of
before that second is in them, and none that was asked for after it. The comparison with the statement of the
gateway names just the payments that they lack. A second before the first backup is refused.
"""

import asyncio
import csv
import re
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import datetime, timedelta
from math import inf
from pathlib import Path

import psycopg

from chaos import clients, quiet, stage
from chaos.gathering import Ledgers
from chaos.history import History, Recorder
from deploy import backups, patroni, restoring
from deploy.cluster import Cluster
from deploy.failover.environment import PLAIN, read_from_leader
from deploy.failover.figures import is_acknowledged
from deploy.failover.gateway import gateway
from deploy.restoring import NoRestore

CLIENTS = 6
PLAN: stage.Plan = [[("GA", 10, 400.0, None), ("VIP", 50, 100.0, None)]] * 2
SELL = 8.0  # seconds, three times
QUIET_LIMIT = 90.0
FOLDER = PLAIN.home / "restore-test"
UUID = re.compile(r"booking ([0-9a-f-]{36})")


class Trial:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.where = cluster, cluster.layout
        self.wrong = 0
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(mode=0o755)
        for old in self.where.backups.iterdir():  # of earlier tests
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        current = self.where.home / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(FOLDER)
        self.ledgers = Ledgers(FOLDER / "ledger.sqlite3", FOLDER / "none.sqlite3")
        self.file = FOLDER / "history.jsonl"

    def see(self, sentence: str, *, right: bool = True) -> None:
        print(sentence if right else f"WRONG: {sentence}", flush=True)
        self.wrong += not right

    def play(self) -> None:
        read_from_leader(self.where)
        staged = quiet.with_connection(stage.set_up, CLIENTS, PLAN)
        with gateway(self.cluster, self.ledgers):
            second = asyncio.run(self._sell(staged))
        history = History.read(self.file)
        self._refuses_the_second_before_the_first_backup()
        self.see(f"Restoring to {second.isoformat()}…")
        began = time.monotonic()
        into = self.where.home / "restored"
        shutil.rmtree(into, ignore_errors=True)
        restored = restoring.restore(self.where, second, into, port=self.where.port_of("restored"))
        try:
            names = " and ".join(each.name for each in restored.used)
            self.see(f"…from {names} and the archive took {time.monotonic() - began:.0f} s.")
            self._judge(history, second)
        finally:
            restored.stop()

    async def _sell(self, staged: stage.Stage) -> datetime:
        """Sell all the time, with a full and an incremental backup. Returns a second in the middle."""
        customers = {name: customer.email for name, customer in clients.buyers(staged, CLIENTS)}
        recorder = Recorder(self.file, seed=1, schedule=[], customers=customers)
        crowd = clients.Crowd(staged, recorder, self.where.site, 1, inf)
        buyers = [clients.Buyer(crowd, *each) for each in clients.buyers(staged, CLIENTS)]
        acting = asyncio.gather(*(buyer.run() for buyer in buyers))
        await asyncio.sleep(SELL)
        for full in (True, False):
            began = time.monotonic()
            made = await asyncio.to_thread(backups.take, self.where, full=full)
            self.see(f"{made.name} took {time.monotonic() - began:.0f} s, and is verified.")
            await asyncio.sleep(SELL)
        second = await asyncio.to_thread(self._next_second)
        self.see(f"{len(crowd.booked)} bookings were acknowledged until {second.isoformat()}.")
        await asyncio.sleep(SELL)
        crowd.seconds = recorder.now()
        await acting
        recorder.close()
        tiers = [tier.id for tier in staged.tiers]
        known = await quiet.until_quiet(
            self.ledgers, tiers, recorder.header.epoch, limit=QUIET_LIMIT
        )
        self.see(f"{len(known.captures)} payments were taken until the end.")
        await asyncio.to_thread(backups.archived_up_to_now, self.where)
        return second

    def _next_second(self) -> datetime:
        """The next whole second of the database's clock, when it is over."""
        leader = patroni.leader(self.where, limit=30)
        with backups.as_superuser(self.where, leader.number) as connection:
            query = "SELECT date_trunc('second', clock_timestamp()) + interval '2 seconds'"
            row = connection.execute(query).fetchone()
            assert row is not None
            connection.execute("SELECT pg_sleep(extract(epoch FROM %s - clock_timestamp()))", row)
        second: datetime = row[0]
        return second

    def _refuses_the_second_before_the_first_backup(self) -> None:
        first = backups.existing(self.where)[0].ended
        try:
            restoring.restore(
                self.where, first - timedelta(seconds=1), FOLDER / "early", port=self.where.port
            )
            self.see("A second before the first backup was restored.", right=False)
        except NoRestore as exc:
            self.see(f"Refused, as it should be: {exc}")

    # --- What was restored ------------------------------------------------------------------------

    def _judge(self, history: History, second: datetime) -> None:
        code, said = self._manage("audit_inventory")
        self.see(f"audit: {said.splitlines()[-1]}", right=code == 0)
        with psycopg.connect(self.where.database_url(self.where.port_of("restored"))) as books:
            rows = books.execute("SELECT id::text FROM bookings_booking").fetchall()
        there = {row[0] for row in rows}
        at = second.timestamp() - history.header.epoch  # on the history's clock
        told = [each for each in history.attempts if is_acknowledged(each)]
        before = {each.answer["id"] for each in told if each.ended < at}
        after = {each.answer["id"] for each in told if each.began > at}
        lost, early = before - there, after & there
        self.see(
            f"{len(before)} bookings were acknowledged before that second; {len(lost)} are missing.",
            right=bool(before) and not lost,
        )
        self.see(
            f"{len(after)} bookings were asked for after it; {len(early)} are in the books.",
            right=bool(after) and not early,
        )
        self._compare(there, after)

    def _compare(self, there: set[str], after: set[str]) -> None:
        statement = FOLDER / "statement.csv"
        taken = write_statement(self.ledgers.main, statement)
        _, said = self._manage("compare_statement", str(statement))
        sentences = [line for line in said.splitlines() if "was taken" in line]
        named = {
            found[1]
            for line in sentences
            if "no such booking" in line and (found := UUID.search(line))
        }
        self.see(
            f"The gateway has {len(taken)} payments, and the restored books lack {len(named)}:"
        )
        print("\n".join(f"   {line}" for line in said.splitlines()[:3]), "\n   …", flush=True)
        self.see(
            "Those named are those that the books lack.",
            right=named == taken - there and after & taken <= named,
        )

    def _manage(self, *command: str) -> tuple[int, str]:
        url = self.where.database_url(self.where.port_of("restored"))
        return self.cluster.ask(*command, environment={"DATABASE_URL": url})


def write_statement(ledger: Path, file: Path) -> set[str]:
    """The statement of the gateway of chaos/. Returns the bookings for which it took money."""
    with closing(sqlite3.connect(ledger)) as db, open(file, "w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["kind", "key", "booking", "amount", "at"])
        charges = db.execute("SELECT key, key, amount, datetime(at, 'unixepoch') FROM capture")
        taken = {rows.writerow(["charge", *row]) and row[0] for row in charges}
        refunds = db.execute("SELECT key, charge, amount, datetime(at, 'unixepoch') FROM refund")
        rows.writerows(["refund", *row] for row in refunds)
    return taken
