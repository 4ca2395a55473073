"""python -m bench.tuning: why gunicorn.conf.py says what it says. Writes TUNING.md; eight minutes.

Each variant sells one hot tier in turn with the settings as they are, on a second server beside it
that rests meanwhile, so a slow moment of the machine meets both. What counts is the ratio.
"""

import os
from dataclasses import dataclass, field
from statistics import median

from bench.measure import over_http, require_tools, warm_up
from bench.servers import HERE, server
from bench.site import SMALL

os.environ |= SMALL.environment

REPEATS = 3
SECONDS = 2
CLIENTS = [64, 256]


@dataclass
class Variant:
    name: str
    arguments: tuple[str, ...] = ()
    changes: dict[str, str] = field(default_factory=dict)
    ratios: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CLIENTS})


def gunicorn(name: str, *arguments: str, **changes: str) -> Variant:
    return Variant(name, arguments, changes)


VARIANTS = [
    gunicorn("as it is (twice the same, to see the noise)"),
    gunicorn("1 process", WEB_CONCURRENCY="1"),
    gunicorn("3 processes", WEB_CONCURRENCY="3"),
    gunicorn("4 processes", WEB_CONCURRENCY="4"),
    gunicorn("asyncio's own event loop", "--asgi-loop", "asyncio"),
    gunicorn("one listening socket", "--config", str(HERE / "one_socket.py")),
    gunicorn("1 thread for lanes", LANE_THREADS="1"),
    gunicorn("4 threads for lanes", LANE_THREADS="4"),
    gunicorn("16 threads for lanes", LANE_THREADS="16"),
    gunicorn("4 threads for the rest of the site", WEB_THREADS="4"),
    gunicorn("32 threads for the rest of the site", WEB_THREADS="32"),
]


CONCLUSIONS = """
What follows from it is in gunicorn.conf.py and ticketbook/settings.py, beside each setting.
"""


def main() -> None:
    require_tools()
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    from bench.report import machine

    with server() as usual:
        warm_up(usual)
        for _ in range(REPEATS):
            for variant in VARIANTS:
                print(variant.name, flush=True)
                with server(changes=variant.changes, arguments=variant.arguments) as changed:
                    warm_up(changed)
                    for clients in CLIENTS:
                        pair = [
                            over_http("book", to, clients=clients, seconds=SECONDS).rate
                            for to in (usual, changed)
                        ]
                        variant.ratios[clients].append(pair[1] / pair[0])
        text = page(machine())
    print(text)
    (HERE / "TUNING.md").write_text(text)


def page(machine: str) -> str:
    lines = [
        "# Why gunicorn.conf.py says what it says",
        "",
        "Bookings a second of one hot tier against the settings as they are (2 processes with uvloop, 8",
        "threads for lanes and 8 for the rest of the site each, a listening socket each), in turn.",
        f"Medians of {REPEATS} pairs of runs of {SECONDS} seconds, lowest and highest in brackets. Repeat it",
        "with `make bench-tuning`.",
        "",
        machine,
        "",
        "| what | " + " | ".join(f"{clients} connections" for clients in CLIENTS) + " |",
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
