"""The figures as a page."""

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
    "textbook": "the textbook path, on the base",
    "nothing": "an endpoint that does nothing, on the base",
    "pgbench": "PostgreSQL alone (pgbench)",
    "form": "the page's form",
    "list": "`GET /concerts`",
    "detail": "`GET /concerts/{id}`",
    "availability": "`GET /concerts/{id}/availability`",
    "page": "a concert's page, not logged in",
    "newlist": "`GET /concerts`, 12 of them, never asked before",
    "mine": "`GET /bookings`",
}

HEAD = f"""# What was measured

TicketBook as it is against *the base*, which is commit {BASE_COMMIT}: there, threads alone answered. Both
run in turn on the same database, with distinct customers with real tokens, fsync on, and the web server
as in production (gunicorn.conf.py). The web server, PostgreSQL and the load generator share one
machine, so read the ratios: between two runs of this page the machine itself may be twice as fast.
Repeat it with `make bench`.

{{machine}}
Medians of {{repeats}} runs each, in turn; a run takes {{seconds}} s or more. {{minutes:.0f}} minutes in all.
"""

SLOW_GATEWAY = """## A slow gateway

Each payment takes 500 to 700 ms; the base takes 500. The first two seconds do not count.
"""

JUNK = """## Tokens that nobody has issued

Bookings come at half the rate that 64 connections reached, alone and with as many requests with a junk
token beside; on at most 256 connections each.
"""

MANY = """## Five thousand connections

A thousand connections book, alone and beside 2,500 that send a byte every 0.4 s and 1,500 that are
silent. MB is the memory of all processes of the web server, and what they share is counted once.
"""


def text(results: Results) -> str:
    size, hot = results.size, results.hot
    parts = [
        HEAD.format(
            machine=machine(), repeats=size.repeats, seconds=size.seconds, minutes=results.minutes
        ),
        "## Targets\n\n| what | target | measured |\n|---|---|---|",
        "".join(f"| {' | '.join(target)} |\n" for target in targets(results)),
        "## One hot tier\n\n![Answers a second against connections](chart.svg)\n",
        table([run for what in NAMES for run in hot if run.what == what]),
        split(hot),
        "## Variations\n\nAt 64 connections.\n",
        table(results.variants),
        SLOW_GATEWAY,
        table(results.slow_gateway),
        spike_text(results.spike) if results.spike else "",
        JUNK,
        table([arrivals.run for arrivals in results.junk]),
        generator(results.junk),
        MANY,
        table(results.many),
        looks(results.many),
        "## Reading\n\nAt 64 connections, on a small site (12 concerts, a hundred bookings) and on a "
        f"large one ({size.concerts:,} concerts, {size.bookings:,} bookings).\n",
        table(results.reading),
        cost_text(results.cost) if results.cost else "",
        audits(results),
    ]
    return "\n".join(part for part in parts if part)


def table(runs: list[Run]) -> str:
    lines = [
        "| what | connections | per second | lowest–highest | p50 ms | p99 ms | answers | CPU, cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for what, clients in dict.fromkeys((run.what, run.clients) for run in runs):
        lines.append(row([r for r in runs if (r.what, r.clients) == (what, clients)]))
    return "\n".join(lines) + "\n"


def row(same: list[Run]) -> str:
    rates = [run.rate for run in same]
    statuses = sorted({status for run in same for status in run.answers})
    answers = ", ".join(f"{sum(r.answers.get(s, 0) for r in same)} × {s}" for s in statuses)
    cpu = ", ".join(f"{part} {median(r.cpu[part] for r in same):.2f}" for part in same[0].cpu)
    p99 = median(run.p99 for run in same)
    return (
        f"| {name(same[0].what)} | {same[0].clients} | {median(rates):.0f}"
        f" | {min(rates):.0f}–{max(rates):.0f} | {median(r.p50 for r in same):.1f}"
        f" | {'–' if p99 != p99 else format(p99, '.0f')} | {answers or '–'} | {cpu or '–'} |"
    )


def name(what: str) -> str:
    kind, comma, variant = what.partition(", ")
    return f"{NAMES.get(kind, kind)}{comma}{variant}"


def split(hot: list[Run]) -> str:
    """How the kernel dealt connections out."""
    seen = [
        " + ".join(map(str, run.look.connections))
        for run in hot
        if run.look and (run.what, run.clients) == ("book", 64)
    ]
    return (
        f"Of the 64 connections, the processes of the web server had {', '.join(seen)} (a sum for each "
        "run).\n"
    )


def looks(many: list[Run]) -> str:
    lines = [
        f"- {run.what}: {' + '.join(f'{count:,}' for count in run.look.connections)} connections by "
        f"process, {run.look.megabytes:.0f} MB."
        for run in many
        if run.look
    ]
    return "\n".join(lines) + "\n"


def generator(junk: list[Arrivals]) -> str:
    behind, dropped = max(each.behind for each in junk), sum(each.dropped for each in junk)
    return (
        f"The generator was at most {behind:.0f} ms behind its plan; {dropped} customers found all "
        "connections taken.\n"
    )


def spike_text(spike: Spike) -> str:
    arrivals, run = spike.arrivals, spike.arrivals.run
    answers = ", ".join(f"{n} × {status}" for status, n in sorted(run.answers.items()))
    times = "; ".join(
        f"{status}: {p50:.0f} and {p99:.0f} ms"
        for status, (p50, p99) in sorted(arrivals.times.items())
    )
    return (
        "## A spike\n\n"
        f"From one moment to the next {arrivals.rate:.0f} customers a second want one tier of "
        f"{spike.quantity:,} tickets, on at most {run.clients} connections; {arrivals.dropped} found "
        "all of these waiting and went away. They keep coming after it has sold out.\n\n"
        f"- Answers: {answers}.\n"
        f"- p50 and p99, from when the customer came: {times}.\n"
        f"- Bookings confirmed in each second: {', '.join(map(str, spike.by_second))}.\n"
        f"- {spike.sustained:.0f} a second on average until the last ticket, {spike.peak:.0f} in the "
        "best second.\n"
        f"- The generator took {run.cpu['load']:.2f} cores and was at most {arrivals.behind:.0f} ms "
        "behind its plan.\n"
    )


def cost_text(cost: Cost) -> str:
    """What pg_stat_statements says of one run."""
    lines = [
        "## What a booking costs the database\n",
        f"{cost.bookings} bookings at 64 connections, by pg_stat_statements: {cost.calls:.1f} statements "
        f"and {cost.milliseconds:.2f} ms each (waits for the lock and for the disk included). New "
        f"multixacts: {cost.multixacts}.\n",
        "| statement | calls | ms | WAL bytes |",
        "|---|---|---|---|",
    ]
    for query, calls, ms, wal in cost.statements[:10]:
        short = re.sub(r"\s+", " ", query)[:88].replace("|", "\\|")
        lines.append(f"| `{short}` | {calls:.2f} | {ms:.3f} | {wal:.0f} |")
    return "\n".join(lines) + "\n"


def audits(results: Results) -> str:
    found = [line for audit in results.audits for line in audit]
    errors = sorted({f"{run.what}: {run.errors}" for run in results.runs if run.errors})
    return (
        f"The audit after the scenarios: {'; '.join(found) or 'no difference'}.\n"
        f"Answers that are errors: {'; '.join(errors) or 'none'}.\n"
    )


def machine() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = cursor.fetchone()[0]
    return (
        f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB; "
        f"Python {platform.python_version()}, Django {version('django')}, "
        f"gunicorn {version('gunicorn')}, PostgreSQL {postgres}; the load is wrk's."
    )
