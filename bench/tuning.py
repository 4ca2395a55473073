"""python -m bench.tuning: compare our settings of the web server with others.

Two servers run side by side, one with our settings and one with another setting. They sell a hot tier in
turn, and one of them rests while the other works. So a slow moment of the machine affects both, and the
ratio of their rates means something. This takes eight minutes and writes TUNING.md.
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
class _Variant:
    name: str
    arguments: tuple[str, ...] = ()
    changes: dict[str, str] = field(default_factory=dict)
    ratios: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CLIENTS})


def _gunicorn(name: str, *arguments: str, **changes: str) -> _Variant:
    return _Variant(name, arguments, changes)


VARIANTS = [
    _gunicorn("our settings on both servers, to show the noise"),
    _gunicorn("1 process", WEB_CONCURRENCY="1"),
    _gunicorn("3 processes", WEB_CONCURRENCY="3"),
    _gunicorn("4 processes", WEB_CONCURRENCY="4"),
    _gunicorn("asyncio's event loop instead of uvloop", "--asgi-loop", "asyncio"),
    _gunicorn("one listening socket for all processes", "--config", str(HERE / "one_socket.py")),
    _gunicorn("1 thread for lanes", LANE_THREADS="1"),
    _gunicorn("4 threads for lanes", LANE_THREADS="4"),
    _gunicorn("16 threads for lanes", LANE_THREADS="16"),
    _gunicorn("4 threads for the rest of the site", WEB_THREADS="4"),
    _gunicorn("32 threads for the rest of the site", WEB_THREADS="32"),
]


CONCLUSIONS = """
gunicorn.conf.py and ticketbook/settings.py say what we concluded, beside each setting.
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
        text = _page(machine())
    print(text)
    (HERE / "TUNING.md").write_text(text)


def _page(machine: str) -> str:
    lines = [
        "# Why the web server has these settings",
        "",
        "Our settings are 2 processes with uvloop. Each process has 8 threads for lanes, 8 threads for",
        "the rest of the site, and its own listening socket. Each row below changes one of these settings.",
        "",
        "A figure is a ratio: the bookings a second of one hot tier with the changed setting, divided by",
        f"those with our settings. It is the median of {REPEATS} pairs of runs of {SECONDS} seconds. The",
        "lowest and the highest ratio are in brackets. Repeat it with `make bench-tuning`.",
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
