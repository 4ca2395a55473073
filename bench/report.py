"""The figures as a page and as a chart."""

import platform
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median

import psutil
from django.db import connection

from bench.measure import Run
from bench.scenarios import Cost, Size, Spike, rate
from bench.site import Site

NAMES = {
    "book": "TicketBook",
    "textbook": "the textbook path",
    "nothing": "an endpoint that does nothing",
    "pgbench": "PostgreSQL alone (pgbench)",
}
COLOURS = {"book": "#0b5d57", "textbook": "#b3261e", "nothing": "#8a8a8a", "pgbench": "#336791"}
READS = {
    "list": "`GET /concerts`",
    "detail": "`GET /concerts/{id}`",
    "availability": "`GET /concerts/{id}/availability`",
    "page": "a concert's page, not logged in",
    "newlist": "`GET /concerts`, 12 of them, never asked before",
    "mine": "`GET /bookings`",
}


@dataclass
class Results:
    size: Size
    reading: list[Run] = field(default_factory=list)
    hot: list[Run] = field(default_factory=list)
    variants: list[Run] = field(default_factory=list)
    cost: Cost | None = None
    spike: Spike | None = None
    audits: list[list[str]] = field(default_factory=list)  # what each found
    minutes: float = 0

    def audit(self, site: Site) -> None:
        self.audits.append(site.audit())
        print(f"audit of the {site.name} site:", self.audits[-1] or "no difference", flush=True)

    @property
    def runs(self) -> list[Run]:
        return [*self.reading, *self.hot, *self.variants]


HEAD = """# What was measured

Distinct customers with real tokens, fsync on, web server as in production (gunicorn.conf.py). The web
server, PostgreSQL and the load generator share one machine, so read the ratios: between two runs of
this page the machine itself may be twice as fast. Repeat it with `make bench`.

{machine}
Medians of {repeats} runs of {seconds} seconds, in turn; {minutes:.0f} minutes in all.
"""


def text(results: Results) -> str:
    size = results.size
    head = HEAD.format(
        machine=machine(), repeats=size.repeats, seconds=size.seconds, minutes=results.minutes
    )
    parts = [
        head,
        targets(results),
        "## One hot tier\n\n![Bookings a second against clients](chart.svg)\n",
        table([[run for run in results.hot if run.what == what] for what in NAMES]),
        "## Variations\n\nAt 64 clients, each on a server of its own.\n",
        table([results.variants]),
        spike_text(results.spike) if results.spike else "",
        "## Reading\n\nAt 64 clients, on a small site (12 concerts, a hundred bookings) and on a "
        f"large one ({'10,000 concerts, a million bookings' if size.repeats > 1 else 'QUICK'}).\n",
        table([results.reading]),
        cost_text(results.cost) if results.cost else "",
        audits(results),
    ]
    return "\n".join(part for part in parts if part)


def table(groups: list[list[Run]]) -> str:
    lines = [
        "| what | clients | per second | lowest–highest | p50 ms | p99 ms | answers | CPU, cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        for what, clients in dict.fromkeys((run.what, run.clients) for run in group):
            lines.append(row([r for r in group if (r.what, r.clients) == (what, clients)]))
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
    kind, _, site = what.partition(", ")
    return f"{READS[kind]}, {site}" if site else NAMES.get(what, what)


def targets(results: Results) -> str:
    """What was aimed at, and what came of it."""
    hot, reads = results.hot, results.reading
    thousand = [run for run in hot if run.clients == 1000]
    wrong = {s for run in thousand for s in run.errors if s != "503"}
    lines = ["## Targets\n", "| what | target | measured |", "|---|---|---|"]

    def say(what: str, target: str, measured: str) -> None:
        lines.append(f"| {what} | {target} | {measured} |")

    book = rate(hot, "book")
    say(
        "a hot tier at 64 clients, against the textbook",
        "≥ 6",
        f"{book / rate(hot, 'textbook'):.1f}",
    )
    say("… against doing nothing", "≥ 0.6", f"{book / rate(hot, 'nothing'):.2f}")
    say("… against lanes switched off", "–", f"{lanes_gain(results):.1f}")
    say("… bookings a second", "1,000: the moonshot", f"{book:.0f}")
    if 256 in results.size.clients:
        collapse = rate(hot, "book", 256) / rate(hot, "book", 16)
        say("256 clients against 16", "≥ 0.9", f"{collapse:.2f}")
    say(
        "1,000 clients",
        "p99 below 3 s, no 5xx but `busy`, nobody without an answer",
        f"p99 {median(run.p99 for run in thousand) / 1000:.1f} s, "
        + (f"answers {', '.join(sorted(wrong))}" if wrong else "none"),
    )
    if spike := results.spike:
        say("spike: goodput against its peak", "≥ 0.8", f"{spike.sustained / spike.peak:.2f}")
        say(
            "spike: a refusal when sold out, against a booking (p50)",
            "faster",
            f"{spike.median_of(409):.0f} ms against {spike.median_of(201):.0f} ms",
        )
    for kind in ("list", "detail", "availability"):
        runs = [run for run in reads if run.what == f"{kind}, small"]
        say(
            f"{READS[kind]} at 64 clients",
            "≥ 2,000 a second, p99 below 100 ms",
            f"{rate(reads, f'{kind}, small'):.0f} a second, p99 {median(r.p99 for r in runs):.0f} ms",
        )
    for kind, what in (("newlist", "list, large against small"), ("mine", "my bookings, the same")):
        slower = rate(reads, f"{kind}, small") / rate(reads, f"{kind}, large")
        say(what, "≤ 1.5 times slower", f"{slower:.2f}")
    if cost := results.cost:
        say("HOT updates of the tier's row", "≥ 99 %", f"{cost.hot:.1%}")
    return "\n".join(lines) + "\n"


def lanes_gain(results: Results) -> float:
    return rate(results.variants, "book") / rate(results.variants, "lanes off")


def spike_text(spike: Spike) -> str:
    answers = ", ".join(f"{n} × {status}" for status, n in sorted(spike.run.answers.items()))
    dropped = spike.run.metrics.get("dropped_iterations", {}).get("values", {}).get("count", 0)
    return (
        "## A spike\n\n"
        f"From one moment to the next {spike.arrivals} customers a second want one tier of "
        f"{spike.quantity} tickets, on at most {spike.run.clients} connections; {dropped:.0f} found "
        "all of these waiting and went away. They keep coming after it has sold out.\n\n"
        f"- Answers: {answers}; p99 {spike.run.p99 / 1000:.1f} s.\n"
        f"- Bookings confirmed in each second: {', '.join(map(str, spike.goodput))}.\n"
        f"- {spike.sustained:.0f} a second on average, {spike.peak:.0f} in the best three seconds.\n"
        f"- Median of a booking {spike.median_of(201):.0f} ms, of a refusal "
        f"{spike.median_of(409):.0f} ms.\n"
    )


def cost_text(cost: Cost) -> str:
    """What pg_stat_statements says of one run."""
    lines = [
        "## What a booking costs the database\n",
        f"{cost.bookings} bookings at 64 clients, by pg_stat_statements: {cost.calls:.1f} statements and "
        f"{cost.milliseconds:.2f} ms each (waits for the lock and for the disk included). New "
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
        f"gunicorn {version('gunicorn')}, PostgreSQL {postgres}, k6 {version('k6')}."
    )


def chart(runs: list[Run]) -> str:
    """Lines of rate against clients, clients on a scale of powers of four."""
    clients = sorted({run.clients for run in runs if run.what == "textbook"})
    lines = {what: [rate(runs, what, count) for count in clients] for what in COLOURS}
    step = tick(max(max(rates) for rates in lines.values()))
    top = step * (int(max(max(rates) for rates in lines.values()) / step) + 1)
    width, height, left, right, bottom = 780, 400, 60, 230, 60

    def x(index: int) -> float:
        return left + index * (width - left - right) / max(len(clients) - 1, 1)

    def y(value: float) -> float:
        return height - bottom - value / top * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="{height - 12}">clients; answers a second, median</text>',
    ]
    for value in range(0, top + 1, step):
        parts.append(f'<path d="M{left} {y(value):.0f}H{x(len(clients) - 1):.0f}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value}</text>'
        )
    for index, count in enumerate(clients):
        parts.append(
            f'<text x="{x(index):.0f}" y="{height - 38}" text-anchor="middle">{count}</text>'
        )
    labels = apart({what: y(rates[-1]) for what, rates in lines.items()}, gap=17)
    for what, rates in lines.items():
        points = " ".join(f"{x(i):.0f},{y(value):.0f}" for i, value in enumerate(rates))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[what]}" stroke-width="3"/>'
            f'<text x="{x(len(clients) - 1) + 10:.0f}" y="{labels[what] + 4:.0f}" '
            f'fill="{COLOURS[what]}">{NAMES[what].removesuffix(" (pgbench)")}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def tick(most: float) -> int:
    """A round number that divides an axis into five to ten parts or so."""
    return next(size for size in (10, 20, 50, 100, 200, 500, 1000) if most / size <= 10)


def apart(places: dict[str, float], *, gap: float) -> dict[str, float]:
    """The same places from top to bottom, with at least `gap` between two of them."""
    moved: dict[str, float] = {}
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        moved[name] = max(place, max(moved.values(), default=place - gap) + gap)
    return moved
