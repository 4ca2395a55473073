"""10,000 payments, and the gateway answers 5 % of them after the time-out: the money is taken all the same.

About five minutes. 120 seconds after the last customer, every captured payment belongs to a confirmed booking
or was sent back, and none was captured twice. PAYMENTS=1000 makes a thousand.
"""

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from math import inf
from pathlib import Path

from chaos import clients, stage
from chaos.drills.running import Drill, at_rest, end, running, set_up
from chaos.quiet import with_connection

PAYMENTS = int(os.environ.get("PAYMENTS") or 10_000)
AT_ONCE = 60  # customers
SHARES = {"late": 5, "decline": 5}  # of a hundred
PLAN: stage.Plan = [[("GA", 10, 1.0 + PAYMENTS / AT_ONCE, None)]]
# Some holds are resolved before the late money moves, and some after.
SETTINGS = {"HOLD_SECONDS": "2"}


class Payer(clients.Buyer):
    """A customer who books one ticket after the other."""

    def __init__(
        self, crowd: clients.Crowd, name: str, customer: stage.Customer, left: Iterator[int]
    ) -> None:
        super().__init__(crowd, name, customer)
        self.left = left

    async def act(self) -> None:
        for _ in self.left:
            await self.book_some(self.crowd.stage.tiers[0], 1)


def main() -> None:
    set_up()
    staged = with_connection(stage.set_up, AT_ONCE, PLAN)
    end(asyncio.run(_drill(staged)))


async def _drill(staged: stage.Stage) -> list[str]:
    async with running("late_answers", staged, AT_ONCE, settings=SETTINGS) as drill:
        await drill.system.set_gateway("", 0, usual=SHARES)
        began = time.monotonic()
        await _pay(drill)
        seconds = time.monotonic() - began
        rest = await at_rest(drill)
    late, captures = _late(drill.system.ledgers.main), len(rest.facts.captures)
    states = Counter(f"{row.status} {row.payment_status}" for row in rest.facts.bookings.values())
    print(
        f"{len(rest.facts.bookings)} payments in {seconds:.0f} s, {late} of them answered too late"
    )
    print("bookings:", "; ".join(f"{state}: {number}" for state, number in states.most_common()))
    print(
        f"{captures} captures, {len(rest.facts.sent_back)} refunds; at rest {rest.seconds:.0f} s after "
        f"the last customer"
    )
    enough = len(rest.facts.bookings) >= PAYMENTS and late >= 0.04 * PAYMENTS
    return rest.wrong + ([] if enough else ["These were too few payments, or too few late ones."])


async def _pay(drill: Drill) -> None:
    crowd = clients.Crowd(drill.staged, drill.recorder, drill.system.url, 1, inf)
    left = iter(range(PAYMENTS))
    await asyncio.gather(
        *(Payer(crowd, *each, left).run() for each in clients.buyers(drill.staged, AT_ONCE))
    )


def _late(ledger: Path) -> int:
    with closing(sqlite3.connect(ledger)) as db:
        asked = "SELECT count(*) FROM call WHERE verb = 'charge' AND mode = 'late'"
        (number,) = db.execute(asked).fetchone()
        return int(number)


if __name__ == "__main__":
    main()
