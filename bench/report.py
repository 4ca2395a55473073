"""Writes the results of make bench as a page, RESULTS.md."""

import platform
import re
from importlib.metadata import version
from statistics import median

import psutil
from django.db import connection

from bench.cost import Cost
from bench.crowds import Arrivals, Spike
from bench.measure import Run
from bench.results import Results, targets
from bench.servers import BASE_COMMIT

NAMES = {
    "book": "TicketBook",
    "base": "the base",
    "textbook": "textbook code, on the base",
    "nothing": "empty endpoint, on the base",
    "pgbench": "PostgreSQL alone (pgbench)",
    "form": "the page's form",
    "list": "`GET /concerts`",
    "detail": "`GET /concerts/{id}`",
    "availability": "`GET /concerts/{id}/availability`",
    "page": "a concert's page, not logged in",
    "newlist": "`GET /concerts`, never from a copy",
    "mine": "`GET /bookings`",
}

HEAD = f"""# What was measured

`make bench` compares TicketBook as it is now with *the base*: commit {BASE_COMMIT}, the last version whose
web server answered on threads only. Both run in turn on the same database, with many customers who have
real tokens. fsync is on, and the web server has the settings of production (gunicorn.conf.py).

The web server, PostgreSQL and the load generator share one machine, and the machine may be twice as fast
at the next run of `make bench`. So compare only figures of the same page.

{{machine}}

A figure is the median of {{repeats}} runs if its section says nothing else. A run takes {{seconds}} s or
more, and the whole page took {{minutes:.0f}} minutes.

The columns of the tables:

- *what*: rows with *base* measure the base, and the row of pgbench measures PostgreSQL alone. All other
  rows measure TicketBook.
- *per second* counts the answers that were wanted: `200`, `201`, `303`, `402` after a declined payment, and
  `401` for a junk token. For pgbench it counts bookings.
- *lowest–highest* is the range of this rate over the runs.
- *p50* and *p99*: half of the answers took at most p50, and 99 of 100 took at most p99. pgbench reports
  only the average, which stands under p50.
- *answers* are all answers of all runs, by HTTP status.
- *CPU* is the number of cores that each part kept busy.
"""

TARGETS = """## Targets

*A ÷ B* is the rate of A divided by the rate of B. Rates are those at 64 connections if the row or its
section gives no other number.

| what | target | measured |
|---|---|---|"""

HOT_TIER = """## One hot tier

![Answers a second against connections](chart.svg)

All customers book the same tier. The base has two more endpoints, for comparison. The *textbook code*
makes the booking in one transaction and charges the customer while it holds the lock. The *empty endpoint*
checks the token and the request, and answers without making a booking. pgbench sends the statements of
a booking to PostgreSQL, without any Python.
"""

VARIANTS = """## Variations

All rows are at 64 connections. The first row is the usual booking. Each other row changes what it names.
"""

SLOW_GATEWAY = """## A slow gateway

The fast gateway answers at once. The slow gateway takes 500 to 700 ms for a payment, and 500 ms when the
base calls it. The rates and the answers leave out the first two seconds of a run.
"""

JUNK = """## Junk tokens

Customers book at half of the rate that 64 connections reached. In the rows *with junk* and *junk*, as many
requests with a made-up token arrive at the same time. The bookings use at most 256 connections, and so do
the requests with a made-up token.
"""

MANY = """## Five thousand connections

A thousand connections book. In the runs with 5,000 connections, 2,500 others send a byte every 0.4 s and
1,500 others are silent.
"""


def text(results: Results) -> str:
    size, hot = results.size, results.hot
    parts = [
        HEAD.format(
            machine=machine(), repeats=size.repeats, seconds=size.seconds, minutes=results.minutes
        ),
        TARGETS,
        "".join(f"| {' | '.join(target)} |\n" for target in targets(results)),
        HOT_TIER,
        _table([run for what in NAMES for run in hot if run.what == what]),
        _split(hot),
        VARIANTS,
        _table(results.variants),
        SLOW_GATEWAY,
        _table(results.slow_gateway),
        _spike_text(results.spike) if results.spike else "",
        JUNK,
        _table([arrivals.run for arrivals in results.junk]),
        _generator(results.junk),
        MANY,
        _table(results.many),
        _looks(results.many),
        "## Reading\n\n"
        "All rows are at 64 connections. The small site has 12 concerts and a hundred bookings.\n"
        f"The large site has {size.concerts:,} concerts and {size.bookings:,} bookings.\n"
        "Rows with *large site* measure the large one, the others the small one.\n",
        _table(results.reading),
        _cost_text(results.cost) if results.cost else "",
        _audits(results),
    ]
    return "\n".join(part for part in parts if part)


def _table(runs: list[Run]) -> str:
    lines = [
        "| what | connections | per second | lowest–highest | p50 ms | p99 ms | answers | CPU, cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for what, clients in dict.fromkeys((run.what, run.clients) for run in runs):
        lines.append(_row([r for r in runs if (r.what, r.clients) == (what, clients)]))
    return "\n".join(lines) + "\n"


def _row(same: list[Run]) -> str:
    rates = [run.rate for run in same]
    statuses = sorted({status for run in same for status in run.answers})
    answers = ", ".join(f"{sum(r.answers.get(s, 0) for r in same)} × {s}" for s in statuses)
    cpu = ", ".join(f"{part} {median(r.cpu[part] for r in same):.2f}" for part in same[0].cpu)
    p99 = median(run.p99 for run in same)
    return (
        f"| {_name(same[0].what)} | {same[0].clients} | {median(rates):.0f}"
        f" | {min(rates):.0f}–{max(rates):.0f} | {median(r.p50 for r in same):.1f}"
        f" | {'–' if p99 != p99 else format(p99, '.0f')} | {answers or '–'} | {cpu or '–'} |"
    )


def _name(what: str) -> str:
    kind, comma, variant = what.partition(", ")
    return f"{NAMES.get(kind, kind)}{comma}{variant}"


def _split(hot: list[Run]) -> str:
    seen = [
        " + ".join(map(str, run.look.connections))
        for run in hot
        if run.look and (run.what, run.clients) == ("book", 64)
    ]
    return (
        "The kernel divides the connections between the processes of the web server. In the runs at 64\n"
        f"connections, it divided them as {', '.join(seen)}.\n"
    )


def _looks(many: list[Run]) -> str:
    lines = [
        f"- {run.what}: {' + '.join(f'{count:,}' for count in run.look.connections)}; "
        f"{run.look.megabytes:.0f} MB."
        for run in many
        if run.look
    ]
    return (
        "How many connections each process of the web server had, and the memory of all processes together\n"
        "(shared memory is counted once), run by run:\n\n" + "\n".join(lines) + "\n"
    )


def _generator(junk: list[Arrivals]) -> str:
    behind, dropped = max(each.behind for each in junk), sum(each.dropped for each in junk)
    return (
        f"The load generator sent its requests at most {behind:.0f} ms late. {dropped} customers found every "
        "connection busy\nand left.\n"
    )


def _spike_text(spike: Spike) -> str:
    arrivals, run = spike.arrivals, spike.arrivals.run
    answers = ", ".join(f"{n} × {status}" for status, n in sorted(run.answers.items()))
    times = "; ".join(
        f"{status}: {p50:.0f} and {p99:.0f} ms"
        for status, (p50, p99) in sorted(arrivals.times.items())
    )
    return (
        "## A spike\n\n"
        f"This is one run. From one moment to the next, {arrivals.rate:.0f} customers arrive each second,\n"
        f"and all of them want the same tier. It has {spike.quantity:,} tickets. Customers keep coming\n"
        f"after it has sold out. They share {run.clients} connections.\n"
        f"{arrivals.dropped} customers found every connection busy and left.\n\n"
        f"- Answers by HTTP status: {answers}.\n"
        f"- p50 and p99 of the time from arrival to answer, by HTTP status: {times}.\n"
        f"- Bookings confirmed in each second: {', '.join(map(str, spike.by_second))}.\n"
        f"- Bookings a second: {spike.sustained:.0f} on average until the last ticket, "
        f"{spike.peak:.0f} in the best second.\n"
        f"- The load generator kept {run.cpu['load']:.2f} cores busy and sent its requests at most "
        f"{arrivals.behind:.0f} ms late.\n"
    )


def _cost_text(cost: Cost) -> str:
    lines = [
        "## What a booking costs the database\n",
        f"This is one run of {cost.bookings} bookings at 64 connections, as pg_stat_statements counts it.\n"
        f"A booking takes {cost.calls:.1f} statements and {cost.milliseconds:.2f} ms on average. "
        "Waits for the lock and for the disk are included.\n"
        f"The run made {cost.multixacts} multixacts.\n\n"
        "The table has the statements that took most of the time. Its figures are for one booking.\n",
        "| statement | calls | ms | WAL bytes |",
        "|---|---|---|---|",
    ]
    for query, calls, ms, wal in cost.statements[:10]:
        short = re.sub(r"\s+", " ", query)[:88].replace("|", "\\|")
        lines.append(f"| `{short}` | {calls:.2f} | {ms:.3f} | {wal:.0f} |")
    return "\n".join(lines) + "\n"


def _audits(results: Results) -> str:
    found = [line for audit in results.audits for line in audit]
    errors = sorted({f"{run.what}: {run.errors}" for run in results.runs if run.errors})
    return (
        "## Errors\n\n"
        f"- Differences between counters and bookings, found by the audits: {'; '.join(found) or 'none'}.\n"
        f"- Answers that are errors: {'; '.join(errors) or 'none'}.\n"
    )


def machine() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = cursor.fetchone()[0]
    return (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; "
        f"Python {platform.python_version()}, Django {version('django')}, "
        f"gunicorn {version('gunicorn')}, PostgreSQL {postgres}; load generator: wrk."
    )
