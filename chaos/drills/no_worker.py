"""A run without a worker from its beginning to its end. The promises hold, some things only take longer.

About two minutes. First the clients act, and the gateway fails to answer more often than usual. When they
have ended, customers whose bookings are still pending ask once more under their keys, which is how a hold
is resolved without a worker. Then the referee judges, while there still is no worker: what only a worker
does (sending refunds, and looking for late money) may be open, and must be written down as open. At last
the worker starts, and everything has to be at rest 120 seconds later. SECONDS=60 is how long the clients
act.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chaos import clients, everybody, facts, referee, stage
from chaos.drills.running import Drill, at_rest, end, running, set_up
from chaos.facts import Facts
from chaos.guests import Guest
from chaos.history import History
from chaos.quiet import with_connection
from chaos.system import HOLD_SECONDS

SECONDS = float(os.environ.get("SECONDS") or 60)
CLIENTS = 12
SHARES = {"decline": 10, "slow": 5, "late": 5, "lost": 5, "silent": 5, "twice": 3}
ASKS = 6  # times at most, each with GAP seconds before it; the gateway may be silent again
GAP = 11.0  # a hold that somebody asks the gateway about is left alone for ten seconds


@dataclass(frozen=True)
class Question:
    """A request of a customer whose booking is pending."""

    client: str
    request: dict[str, Any]


class Asker(clients.Buyer):
    """A customer who asks again about what is pending, and nothing else."""

    question: Question

    async def act(self) -> None:
        await self.ask_to_book(self.question.request)


class AskingGuest(Asker, Guest):
    pass


def _asker(crowd: clients.Crowd, question: Question) -> Asker:
    customer = dict(everybody.clients_of(crowd.stage, CLIENTS))[question.client]
    asker = (Asker if customer.token else AskingGuest)(crowd, question.client, customer)
    asker.question = question
    return asker


def main() -> None:
    set_up()
    staged = with_connection(stage.set_up, CLIENTS)
    end(asyncio.run(_drill(staged)))


async def _drill(staged: stage.Stage) -> list[str]:
    async with running("no_worker", staged, CLIENTS, worker=False) as drill:
        await drill.system.set_gateway("", 0, usual=SHARES)
        crowd = clients.Crowd(staged, drill.recorder, drill.system.url, 1, SECONDS)
        staff = clients.Staff(drill.system.environment())
        await staff.start()
        await everybody.run(crowd, CLIENTS, staff)
        await staff.end()
        wrong = await _without_a_worker(drill, crowd)
        rest = await at_rest(drill)
        print(f"the worker is started: at rest {rest.seconds:.0f} s later")
    print(f"{len(rest.history.attempts)} requests, {len(rest.facts.bookings)} bookings")
    return wrong + rest.wrong


async def _without_a_worker(drill: Drill, crowd: clients.Crowd) -> list[str]:
    known = await drill.facts_now()
    print(f"{len(_pending(known))} bookings are pending when the clients end, without a worker")
    for _ in range(ASKS):
        if not (pending := _pending(known)):
            break
        await asyncio.sleep(HOLD_SECONDS + 1 if not _ else GAP)
        questions = _questions(History.read(drill.file), known, pending)
        await asyncio.gather(*(_asker(crowd, each).run() for each in questions))
        known = await drill.facts_now()
    return _judge(History.read(drill.file), known)


def _pending(known: Facts) -> set[str]:
    return {pk for pk, row in known.bookings.items() if row.status == "PENDING"}


def _questions(history: History, known: Facts, pending: set[str]) -> Iterator[Question]:
    rows = {(row.maker, row.key): row for row in map(known.bookings.__getitem__, pending)}
    for attempt in history.attempts:
        if attempt.verb != "book":
            continue
        request, user = attempt.request, history.header.customers[attempt.client]
        row = rows.get((user, request["key"]))
        if row and (request["tier"], request["quantity"]) == (row.tier, row.quantity):
            del rows[user, row.key]
            yield Question(attempt.client, request)


def _judge(history: History, known: Facts) -> list[str]:
    due = [refund for refund in known.refunds if refund.status == "DUE"]
    looked_for = [job for job in known.open_jobs if "look_for_late_payment" in job]
    print(
        f"after their customers have asked again: {len(_pending(known))} pending, {len(due)} refunds written "
        f"down and not sent, {len(looked_for)} payments to be looked for"
    )
    waits = {refund.booking for refund in due} | {
        pk for pk in facts.owed(known) if any(pk in job for job in looked_for)
    }
    wrong = [f"Booking {pk} is PENDING, whatever its customer asks." for pk in _pending(known)]
    for violation in referee.judge(history, known):
        waiting = (
            violation.check in {"money_kept", "kept_after_call_off"} and set(violation.rows) & waits
        )
        if violation.check != "not_quiet" and not waiting:
            wrong.append(f"Without a worker: {violation.check}: {violation.sentence}")
    return wrong


if __name__ == "__main__":
    main()
