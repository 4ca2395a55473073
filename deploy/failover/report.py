"""The report of a failover test, as Markdown."""

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from deploy.failover.figures import BUSY, Figures
from deploy.faults import FAULTS

HEAD = """\
# What clients feel when a part of the cluster dies

Written by `make failover-test` on {date}: {runs} faults in a cluster of three PostgreSQL members on one
machine with {cores} cores. {clients} clients book, look, cancel and return all the time, each request to book
with a key, and repeat under it what got no answer. The site reaches the primary {way}.
A journal outside of the cluster has what clients were told.

- **gap**: the longest time in which no booking was acknowledged to any client, from the last one before the
  fault up to the end of the observation.
- **new primary**: when another member took writes.
- **back**: how long after the mending every part ran again and was in its place: all members of etcd, the
  old primary as a standby, and the site ready.
- **lost**: acknowledged bookings that are not on the timeline of the leader that living members name.
- **errors**: `busy` with `Retry-After` is the only one that may be; a rolling restart may cause none at all.
  The death of HAProxy itself may also cut connections. `TimeoutError` is a client that went after 4 s. The
  site looks for a booking whose COMMIT had no answer for up to 8 s, because many failovers are over by then.
- **25006**: statements that a read-only server refused later than 5 s after another member took writes.
- **found**: what the referee of `make chaos` and the audit found wrong in books, answers and money.
- **money**: what the gateway took and did not send back, by its own ledger. The books say the same, or both
  numbers are there.

Times include what other work on the machine cost; **load** is its load in that minute.
"""


def text(found: Sequence[Figures], *, clients: int, not_tried: Sequence[str]) -> str:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    way = "through PgBouncer and HAProxy" if os.environ.get("POOLER") == "on" else "through HAProxy"
    head = HEAD.format(date=date, runs=len(found), cores=os.cpu_count(), clients=clients, way=way)
    usual = [each for each in found if each.arrivals is None]
    wrong = [f"- {each.fault}: {what}" for each in found for what in each.failures()[:10]]
    parts = [head, "## Summary\n", *_summary(usual)] if usual else [head]
    parts += ["", *(f"Not tried: {what}" for what in not_tried)]
    parts += ["\n## What was not as promised\n", *(wrong or ["Nothing."])]
    parts += _at_a_rate([each for each in found if each.arrivals])
    parts += ["\n## Every fault\n", *_rows(usual)] if usual else []
    return "\n".join(parts) + "\n"


def _summary(found: Iterable[Figures]) -> list[str]:
    lines = [
        "| fault | what | times | gap: median | worst | below | in time | lost | found | came back |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(FAULTS)
    ordered = sorted(found, key=lambda each: order.index(each.fault))
    for name, group in groupby(ordered, key=lambda each: each.fault):
        these = list(group)
        gaps = [each.gap for each in these]
        target = these[0].target
        lines.append(
            f"| `{name}` | {FAULTS[name].what} | {len(these)} | {statistics.median(gaps):.1f} s | "
            f"{max(gaps):.1f} s | {target:.0f} s | {sum(gap < target for gap in gaps)} of {len(these)} | "
            f"{sum(each.lost for each in these)} | {sum(len(each.wrong) for each in these)} | "
            f"{sum(each.rejoins is not None for each in these)} of {len(these)} |"
        )
    return lines


AT_A_RATE = """
## At a fixed rate

Instead of these clients, customers come at a fixed rate, whether the earlier ones have been answered or not
(`make failover-test FAULTS="rolling_restart switchover" RATE=200 KEEP=1`). Payments are simulated and take no
time. Each customer asks once.

- **sent**, **booked**: requests, and bookings that were acknowledged, a second from the beginning to the end.
- **slowest**: the longest time from arrival to answer.
- **left**: customers who did not ask, because all connections were taken.

| fault | wanted | sent | booked | requests | busy | failed | gap | slowest | left | lost | found | load |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def _at_a_rate(found: Sequence[Figures]) -> list[str]:
    return [AT_A_RATE, *map(_rate_row, found)] if found else []


def _rate_row(each: Figures) -> str:
    came, failed = each.arrivals or {}, dict(each.errors)
    busy = failed.pop(BUSY, 0)
    return (
        f"| `{each.fault}` | {came['asked']}/s | {came['offered']}/s | {came['booked']}/s | "
        f"{came['requests']} | {busy} | {_told(failed) or 0} | {each.gap:.1f} s | {came['slowest']:.1f} s | "
        f"{came['left']} | {each.lost} | {len(each.wrong)} | {each.load:.1f} |"
    )


def _rows(found: Iterable[Figures]) -> list[str]:
    lines = [
        "| fault | hit | gap | new primary | back | bookings | errors | lost | 25006 | money | found "
        "| leader at the end | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(each) for each in found]
    errors = sum((Counter(each.errors) for each in found), Counter[str]())
    return [*lines, "", f"All errors: {_told(errors) or 'none'}."]


def row(each: Figures) -> str:
    """The line of one fault in its table."""
    if each.arrivals:
        return _rate_row(each)
    took = "" if each.takes_over is None else f"{each.takes_over:.1f} s"
    back = "never" if each.rejoins is None else f"{each.rejoins:.1f} s"
    money = each.taken if each.taken == each.booked else f"**{each.taken}, not {each.booked}**"
    return (
        f"| `{each.fault}` | {each.hit} | {each.gap:.1f} s | {took} | {back} | {each.bookings} | "
        f"{_told(each.errors)} | {each.lost} | {each.late_read_only} | {money} | {len(each.wrong)} | "
        f"{each.leader} | {each.load:.1f} |"
    )


def _told(errors: dict[str, int]) -> str:
    return ", ".join(f"{number} × {kind}" for kind, number in errors.items())
