"""A concert with 5,000 bookings is called off, and the worker is killed with SIGKILL five times at that work.

About ten minutes, and twice that on a busy machine. The gateway loses some answers to refunds meanwhile.
In the end every booking was cancelled once, every payment refunded once by the gateway's own ledger, and
everybody told once: by one mail. (Each kill may let a second copy of one arrive.) BOOKINGS=500 and KILLS=2
are other numbers.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import inf

from chaos import clients, stage
from chaos.drills.late_answers import Payer
from chaos.drills.running import Drill, at_rest, copies, end, running, set_up
from chaos.facts import Facts
from chaos.quiet import with_connection

BOOKINGS = int(os.environ.get("BOOKINGS") or 5_000)
KILLS = int(os.environ.get("KILLS") or 5)
AT_ONCE = 40  # customers
PLAN: stage.Plan = [[("GA", 10, 1.0 + BOOKINGS / AT_ONCE, None)]]
WHILE_BOOKING = {"decline": 0}  # no faults
WHILE_REFUNDING = {"lost": 0.3, "late": 0.3, "twice": 1.0}  # of a hundred
STUCK = 180.0  # seconds without any progress, after which the drill fails


@dataclass(frozen=True)
class Done:
    refunds: int
    mails: int

    @property
    def share(self) -> float:
        return (self.refunds + self.mails) / (2 * BOOKINGS)


def main() -> None:
    set_up()
    staged = with_connection(stage.set_up, AT_ONCE, PLAN)
    end(asyncio.run(_drill(staged)))


async def _drill(staged: stage.Stage) -> list[str]:
    # Without a worker at first: it would make thousands of PDFs for tickets that are never used.
    async with running("called_off", staged, AT_ONCE, worker=False) as drill:
        await drill.system.set_gateway("", 0, usual=WHILE_BOOKING)
        crowd = clients.Crowd(staged, drill.recorder, drill.system.url, 1, inf)
        left = iter(range(BOOKINGS))
        await asyncio.gather(
            *(Payer(crowd, *each, left).run() for each in clients.buyers(staged, AT_ONCE))
        )
        await drill.system.set_gateway("", 0, usual=WHILE_REFUNDING)
        seconds, said = await _call_off(drill, crowd)
        print(f"called off in {seconds:.1f} s: {said}")
        began = time.monotonic()
        drill.system.worker.start()
        wrong = [sentence async for sentence in _kill(drill)]
        killed = time.monotonic() - began
        await _until(1.0)  # a busy machine sends a few refunds a second
        rest = await at_rest(drill)
    seconds = time.monotonic() - began
    print(f"{KILLS} kills in {killed:.0f} s; all was done {seconds:.0f} s after the worker began")
    return wrong + rest.wrong + list(_judge(rest.facts))


async def _call_off(drill: Drill, crowd: clients.Crowd) -> tuple[float, str]:
    staff = clients.Staff(drill.system.environment())
    staff.LIMIT = 60.0
    await staff.start()
    staff.crowd, began = crowd, time.monotonic()
    attempt = await staff.ask("call_off", {"concert": drill.staged.called_off})
    seconds = time.monotonic() - began
    await staff.end()
    return seconds, " ".join((attempt.answer or {}).get("said", [attempt.error]))


async def _kill(drill: Drill) -> AsyncIterator[str]:
    for number in range(1, KILLS + 1):
        done = await _until(number / (KILLS + 1))
        if done.share < number / (KILLS + 1):
            yield f"Before kill {number} nothing went on for {STUCK:.0f} s, at {done}."
            return
        with drill.recorder.fault("kill_worker", {"arguments": []}):
            drill.system.worker.kill()
        print(f"kill {number} at {done.refunds} refunds and {done.mails} mails", flush=True)


async def _until(share: float) -> Done:
    """Wait until so much is done, or nothing goes on any more."""
    done = await asyncio.to_thread(with_connection, _done)
    moved = time.monotonic()
    while done.share < share and time.monotonic() < moved + STUCK:
        await asyncio.sleep(0.2)
        before, done = done, await asyncio.to_thread(with_connection, _done)
        if done != before:
            moved = time.monotonic()
    return done


def _done() -> Done:
    from bookings.models import Refund
    from mail.models import Mail

    sent = Mail.objects.filter(kind="called_off", status=Mail.Status.SENT)
    return Done(Refund.objects.filter(status=Refund.Status.SENT).count(), sent.count())


def _judge(known: Facts) -> Iterator[str]:
    """A sentence for everything that was not done exactly once."""
    paid = Counter({each.booking: Decimal(each.amount) for each in known.captures})
    back = Counter(each.booking for each in known.sent_back)
    sums: Counter[str] = Counter()
    for each in known.sent_back:
        sums[each.booking] += Decimal(each.amount)  # type: ignore[assignment]
    returns = Counter(each.booking for each in known.returns)
    told = Counter(each.about for each in known.mails if each.key.startswith("called_off:"))
    arrived = {letter.message_id for letter in known.letters}
    sent = {each.about for each in known.mails if each.message_id in arrived}
    states = Counter((row.status, row.payment_status) for row in known.bookings.values())
    print(
        f"{len(known.bookings)} bookings: "
        + ", ".join(f"{' '.join(state)}: {number}" for state, number in states.items())
    )
    print(
        f"the gateway took {sum(paid.values())} in {len(paid)} payments, and sent {sum(sums.values())} "
        f"back in {len(known.sent_back)} refunds; {len(told)} bookings were told, and "
        f"{copies(known)} mails arrived twice"
    )
    if len(known.bookings) < BOOKINGS:
        yield f"There are {len(known.bookings)} bookings only."
    for pk, row in known.bookings.items():
        if row.status == "FAILED" and not paid[pk]:
            continue  # its charge never came to the gateway, as happens on a busy machine
        once = (row.status, returns[pk], back[pk], sums[pk], told[pk])
        if once != ("CANCELLED", 1, 1, paid[pk], 1):
            yield f"Booking {pk}: status, returns, refunds, their sum and mails are {once}."
        if pk not in sent:
            yield f"Nobody was told of booking {pk}."


if __name__ == "__main__":
    main()
