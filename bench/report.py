"""The figures as a page and as a chart."""

import platform
from collections.abc import Iterable
from importlib.metadata import version
from statistics import median

import psutil
from django.db import connection

from bench.measure import Run

NAMES = {
    "book": "TicketBook, lanes",
    "plain": "TicketBook, BOOKING_LANES=off",
    "textbook": "the textbook path",
    "nothing": "an endpoint that does nothing",
    "pgbench": "PostgreSQL alone (pgbench)",
}
COLOURS = {"book": "#0b5d57", "textbook": "#b3261e", "nothing": "#8a8a8a", "pgbench": "#336791"}


def rate(runs: Iterable[Run], what: str, clients: int) -> float:
    return median(run.rate for run in runs if (run.what, run.clients) == (what, clients))


def text(runs: list[Run], hot: float, *, repeats: int, seconds: int) -> str:
    clients = sorted({run.clients for run in runs})
    lines = [
        "# What was measured",
        "",
        "One hot tier; distinct customers with real tokens; every payment succeeds; fsync on. The web",
        "server, PostgreSQL and the load generator share one machine, so read the ratios. Repeat it",
        f"with `make bench`. Medians of {repeats} runs of {seconds} seconds; a rate also counts the time",
        "in which the load generator starts and the last answers come in. Lanes off: one run.",
        "",
        machine(),
        "",
        "![Bookings a second against clients](chart.svg)",
        "",
        "| what | clients | per second | lowest–highest | p50 ms | p99 ms | answers | CPU, cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for what in NAMES:
        for count in clients:
            same = [run for run in runs if (run.what, run.clients) == (what, count)]
            if same:
                lines.append(row(same))
    lines += ["", "## Ratios", "", *ratios(runs, clients), ""]
    lines.append(f"HOT updates of the tier rows: {hot:.1%}.")
    found = sorted({difference for run in runs for difference in run.differences})
    lines.append(f"The audit after each run: {'; '.join(found) or 'no difference'}.")
    return "\n".join(lines) + "\n"


def row(same: list[Run]) -> str:
    rates = [run.rate for run in same]
    statuses = sorted({status for run in same for status in run.answers})
    answers = ", ".join(f"{sum(r.answers.get(s, 0) for r in same)} × {s}" for s in statuses)
    cpu = ", ".join(f"{part} {median(r.cpu[part] for r in same):.2f}" for part in same[0].cpu)
    p99 = median(run.p99 for run in same)
    return (
        f"| {NAMES[same[0].what]} | {same[0].clients} | {median(rates):.0f}"
        f" | {min(rates):.0f}–{max(rates):.0f} | {median(r.p50 for r in same):.0f}"
        f" | {'–' if p99 != p99 else format(p99, '.0f')} | {answers or '–'} | {cpu or '–'} |"
    )


def ratios(runs: list[Run], clients: list[int]) -> list[str]:
    def times(what: str) -> float:
        return rate(runs, "book", 64) / rate(runs, what, 64)

    lines = [
        f"- At 64 clients, against the textbook path: {times('textbook'):.1f} times (target: 6).",
        f"- At 64 clients, against doing nothing: {times('nothing'):.2f} (target: 0.6).",
        f"- At 64 clients, against lanes switched off: {times('plain'):.1f} times.",
    ]
    if 256 in clients:
        collapse = rate(runs, "book", 256) / rate(runs, "book", 16)
        lines.append(f"- 256 clients against 16: {collapse:.2f} (target: 0.9, no collapse).")
    return lines


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
    """Lines of rate against clients, clients on a scale of powers of two."""
    clients = sorted({run.clients for run in runs if run.what == "book"})
    top = max(rate(runs, what, n) for what in COLOURS for n in clients) * 1.1
    width, height, left, bottom = 720, 400, 70, 60

    def x(index: int) -> float:
        return left + index * (width - left - 200) / max(len(clients) - 1, 1)

    def y(value: float) -> float:
        return height - bottom - value / top * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for step in range(6):
        value = top * step / 5
        parts.append(f'<path d="M{left} {y(value):.0f}H{x(len(clients) - 1):.0f}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y(value) + 4:.0f}" text-anchor="end">{value:.0f}</text>'
        )
    for index, count in enumerate(clients):
        parts.append(
            f'<text x="{x(index):.0f}" y="{height - 35}" text-anchor="middle">{count}</text>'
        )
    parts.append(f'<text x="{left}" y="{height - 12}">clients; answers a second, median</text>')
    for what, colour in COLOURS.items():
        rates = [rate(runs, what, count) for count in clients]
        points = " ".join(f"{x(i):.0f},{y(value):.0f}" for i, value in enumerate(rates))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="3"/>'
        )
        parts.append(
            f'<text x="{x(len(clients) - 1) + 8:.0f}" y="{y(rates[-1]) + 4:.0f}" fill="{colour}">'
            f"{NAMES[what].removesuffix(' (pgbench)')}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])
