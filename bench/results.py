"""What one run of make bench has found, and what was aimed at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from bench.cost import Cost
from bench.crowds import Arrivals, Spike
from bench.measure import Run
from bench.scenarios import Size, rate
from bench.site import Site


@dataclass
class Results:
    size: Size
    reading: list[Run] = field(default_factory=list)
    hot: list[Run] = field(default_factory=list)
    variants: list[Run] = field(default_factory=list)
    slow_gateway: list[Run] = field(default_factory=list)
    junk: list[Arrivals] = field(default_factory=list)
    many: list[Run] = field(default_factory=list)
    cost: Cost | None = None
    spike: Spike | None = None
    audits: list[list[str]] = field(default_factory=list)  # what each found
    minutes: float = 0

    def audit(self, site: Site) -> None:
        self.audits.append(site.audit())
        print(f"audit of the {site.name} site:", self.audits[-1] or "no difference", flush=True)

    @property
    def capacity(self) -> float:
        return rate(self.hot, "book")

    @property
    def runs(self) -> list[Run]:
        return [
            *self.reading,
            *self.hot,
            *self.variants,
            *self.slow_gateway,
            *self.many,
            *(arrivals.run for arrivals in self.junk),
            *([self.spike.arrivals.run] if self.spike else []),
        ]


class Target(NamedTuple):
    what: str
    aim: str
    measured: str


def targets(results: Results) -> list[Target]:
    return [
        *hot_tier(results.hot),
        *variants(results.variants, results.slow_gateway),
        *reading(results.reading),
        *crowds(results),
    ]


def against(
    runs: list[Run], what: str, other: str, clients: int = 64, others: int | None = None
) -> str:
    return f"{rate(runs, what, clients) / rate(runs, other, others or clients):.2f}"


def middle(runs: list[Run], what: str, of: Callable[[Run], float], clients: int = 64) -> float:
    return median(of(run) for run in runs if (run.what, run.clients) == (what, clients))


def hot_tier(runs: list[Run]) -> list[Target]:
    aims = {1: "≥ 1", 64: "≥ 4", 256: "≥ 5", 1000: "≥ 6"}
    p99 = middle(runs, "book", lambda run: run.p99, 1000)
    p99_base = middle(runs, "base", lambda run: run.p99, 1000)
    thousand = [run for run in runs if (run.what, run.clients) == ("book", 1000)]
    wrong = sorted({status for run in thousand for status in run.errors if status != "503"})
    return [
        *(
            Target(
                f"a hot tier at {count:,} connection{'s' if count > 1 else ''}, against the base",
                aim,
                against(runs, "book", "base", count),
            )
            for count, aim in aims.items()
        ),
        Target("… p99 at 1,000", "< 500 ms", f"{p99:.0f} ms (the base: {p99_base:.0f} ms)"),
        Target(
            "… what went wrong at 1,000", "no 5xx but 503, none lost", ", ".join(wrong) or "nothing"
        ),
        Target("… at 64 against the base's do-nothing", "≥ 2.5", against(runs, "book", "nothing")),
        Target("… at 64 against the base's textbook", "≥ 12", against(runs, "book", "textbook")),
    ]


def variants(runs: list[Run], slow: list[Run]) -> list[Target]:
    tiers = "a hundred tiers"
    return [
        Target(
            "payments at 80 % against 100 %", "≥ 0.9", against(runs, "payments at 80 %", "book")
        ),
        Target(
            "payments of half a second at 2,000 connections, against none at 1,000",
            "≥ 0.6",
            against(slow, "slow gateway", "prompt gateway", 2000, 1000),
        ),
        Target(
            "… against the base at 256",
            "–",
            against(slow, "slow gateway", "slow gateway, base", 2000, 256),
        ),
        Target("a hundred tiers against the base", "≥ 2", against(runs, tiers, f"{tiers}, base")),
        Target("the page's form against the base", "≥ 1.5", against(runs, "form", "form, base")),
        Target("lanes on against off, one tier", "–", against(runs, "book", "lanes off")),
        Target("… a hundred tiers", "–", against(runs, tiers, f"{tiers}, lanes off")),
    ]


def reading(runs: list[Run]) -> list[Target]:
    aims = {
        "availability": ("availability", "≥ 2"),
        "list": ("the list of concerts", "≥ 2"),
        "page": ("a concert's page, not logged in", "≥ 2"),
        "newlist": ("a list never asked for before", "–"),
        "mine": ("my bookings", "–"),
    }
    growing = {"newlist": "a new list", "mine": "my bookings"}
    return [
        *(
            Target(f"{what} against the base", aim, against(runs, f"{kind}, new", f"{kind}, base"))
            for kind, (what, aim) in aims.items()
        ),
        *(
            Target(
                f"{what}, small site against large",
                "≤ 1.5",
                against(runs, f"{kind}, new", f"{kind}, large"),
            )
            for kind, what in growing.items()
        ),
    ]


def crowds(results: Results) -> list[Target]:
    many, junk = results.many, [arrivals.run for arrivals in results.junk]
    wrong = sorted({status for run in many for status in run.errors if status != "503"})
    lines = [
        Target(
            "5,000 connections, half of them slow, goodput",
            "≥ 0.8",
            against(many, "5,000 connections", "1,000 connections", 1000),
        ),
        Target("… what went wrong", "no 5xx but 503, none lost", ", ".join(wrong) or "nothing"),
        Target("… memory of the web server", "< 600 MB", f"{megabytes(many):.0f} MB"),
        Target(
            "a sale at half a load, beside as much junk",
            "≥ 0.9",
            against(junk, "half a load, junk", "half a load", 256),
        ),
    ]
    if spike := results.spike:
        lines += [
            Target(
                "spike: goodput against its peak", "≥ 0.9", f"{spike.sustained / spike.peak:.2f}"
            ),
            Target(
                "spike: p50 of a refusal",
                "< 50 ms",
                f"{spike.p50(409):.0f} ms (of a booking: {spike.p50(201):.0f} ms)",
            ),
        ]
    if cost := results.cost:
        lines.append(Target("HOT updates of the tier's row", "≥ 99 %", f"{cost.hot:.1%}"))
    return lines


def megabytes(many: list[Run]) -> float:
    """The most that was seen at 5,000 connections."""
    return max(run.look.megabytes for run in many if run.look and run.what == "5,000 connections")
