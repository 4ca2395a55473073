"""python -m bench.tuning: why gunicorn.conf.py says what it says. Writes TUNING.md; ten minutes.

Each variant sells one hot tier in turn with the settings as they are, on a second server beside it
that rests meanwhile, so a slow moment of the machine meets both. What counts is the ratio.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.site import GUNICORN, SMALL, Site, server

os.environ |= SMALL.environment
os.environ["DATABASE_URL"] = ""

REPEATS = 3
SECONDS = 2
CLIENTS = [64, 256]
OTHER = Site(SMALL.name, 8125)  # the same database by another door

GRANIAN = ("-m", "granian", "--interface", "wsgi", "--port", str(OTHER.port), "--workers", "2")


@dataclass
class Variant:
    name: str
    command: tuple[str, ...] = GUNICORN
    changes: dict[str, str] = field(default_factory=dict)
    ratios: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CLIENTS})


def gunicorn(name: str, *arguments: str, **changes: str) -> Variant:
    return Variant(name, (*GUNICORN, *arguments), changes)


def size(processes: int, threads: int) -> Variant:
    return gunicorn(
        f"{processes} processes, {threads} threads each",
        WEB_CONCURRENCY=str(processes),
        WEB_THREADS=str(threads),
    )


VARIANTS = [
    gunicorn("as it is (twice the same, to see the noise)"),
    size(1, 64),
    size(2, 16),
    size(2, 64),
    size(3, 32),
    size(4, 16),
    gunicorn("worker class sync, 16 processes", "--worker-class", "sync", "--workers", "16"),
    gunicorn("keep-alive off", "--keep-alive", "0"),
    gunicorn("preload", "--preload"),
    gunicorn("a pool of 16 database connections a process", BENCH_POOL="16"),
    gunicorn("a new database connection for each request", KEEP_CONNECTIONS="off"),
    Variant(
        "granian, 2 processes, 32 threads each",
        (
            *GRANIAN,
            "--blocking-threads",
            "32",
            "--no-ws",
            "--log-level",
            "warning",
            "ticketbook.wsgi:application",
        ),
        {"KEEP_CONNECTIONS": "on"},
    ),
]


CONCLUSIONS = """
What follows from it is in gunicorn.conf.py, beside each setting. Another WSGI server would be
documented as an option if it were at least 1.5 times faster.
"""


def main() -> None:
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    from bench.measure import over_http, warm_up
    from bench.report import machine
    from bench.site import new_tier

    with server(SMALL) as reference:
        warm_up(reference.pid, new_tier())
        for _ in range(REPEATS):
            for variant in VARIANTS:
                print(variant.name, flush=True)
                with server(OTHER, variant.changes, command=variant.command) as changed:
                    warm_up(changed.pid, new_tier(), OTHER)
                    for clients in CLIENTS:
                        usual, other = (
                            over_http(
                                "book",
                                clients=clients,
                                seconds=SECONDS,
                                web=web.pid,
                                site=site,
                                tiers=[new_tier()],
                            ).rate
                            for site, web in ((SMALL, reference), (OTHER, changed))
                        )
                        variant.ratios[clients].append(other / usual)
        text = page(machine())
    print(text)
    (Path(__file__).parent / "TUNING.md").write_text(text)


def page(machine: str) -> str:
    lines = [
        "# Why gunicorn.conf.py says what it says",
        "",
        "Bookings a second of one hot tier against the settings as they are (2 processes, 32 threads",
        f"each, a connection kept by each thread), in turn. Medians of {REPEATS} pairs of runs of "
        f"{SECONDS} seconds,",
        "lowest and highest in brackets. Repeat it with `make bench-tuning`.",
        "",
        machine,
        "",
        "| what | " + " | ".join(f"{clients} clients" for clients in CLIENTS) + " |",
        "|---|" + "---|" * len(CLIENTS),
    ]
    for variant in VARIANTS:
        cells = [
            f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            for ratios in variant.ratios.values()
        ]
        lines.append(f"| {variant.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + CONCLUSIONS


if __name__ == "__main__":
    main()
