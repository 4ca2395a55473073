"""The results of one make bench, and the targets that they are compared with."""

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
    audits: list[list[str]] = field(default_factory=list)  # the differences that each audit found
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


class _Target(NamedTuple):
    what: str
    aim: str
    measured: str


def targets(results: Results) -> list[_Target]:
    return [
        *_hot_tier(results.hot),
        *_variants(results.variants, results.slow_gateway),
        *_reading(results.reading),
        *_crowds(results),
    ]


def _against(
    runs: list[Run], what: str, other: str, clients: int = 64, others: int | None = None
) -> str:
    return f"{rate(runs, what, clients) / rate(runs, other, others or clients):.2f}"


def _middle(runs: list[Run], what: str, of: Callable[[Run], float], clients: int = 64) -> float:
    return median(of(run) for run in runs if (run.what, run.clients) == (what, clients))


def _hot_tier(runs: list[Run]) -> list[_Target]:
    aims = {1: "≥ 1", 64: "≥ 4", 256: "≥ 5", 1000: "≥ 6"}
    p99 = _middle(runs, "book", lambda run: run.p99, 1000)
    p99_base = _middle(runs, "base", lambda run: run.p99, 1000)
    thousand = [run for run in runs if (run.what, run.clients) == ("book", 1000)]
    wrong = sorted({status for run in thousand for status in run.errors if status != "503"})
    return [
        *(
            _Target(
                f"one hot tier, {count:,} connection{'s' if count > 1 else ''}: TicketBook ÷ the base",
                aim,
                _against(runs, "book", "base", count),
            )
            for count, aim in aims.items()
        ),
        _Target(
            "one hot tier, 1,000 connections: p99",
            "< 500 ms",
            f"{p99:.0f} ms (the base: {p99_base:.0f} ms)",
        ),
        _Target(
            "one hot tier, 1,000 connections: errors", "none except 503", ", ".join(wrong) or "none"
        ),
        _Target(
            "one hot tier: TicketBook ÷ the empty endpoint",
            "≥ 2.5",
            _against(runs, "book", "nothing"),
        ),
        _Target(
            "one hot tier: TicketBook ÷ the textbook code",
            "≥ 12",
            _against(runs, "book", "textbook"),
        ),
    ]


def _variants(runs: list[Run], slow: list[Run]) -> list[_Target]:
    tiers = "a hundred tiers"
    return [
        _Target(
            "80 % of payments succeed ÷ all succeed",
            "≥ 0.9",
            _against(runs, "80 % of payments succeed", "book"),
        ),
        _Target(
            "slow gateway at 2,000 connections ÷ fast gateway at 1,000",
            "≥ 0.6",
            _against(slow, "slow gateway", "fast gateway", 2000, 1000),
        ),
        _Target(
            "slow gateway: TicketBook at 2,000 connections ÷ the base at 256",
            "–",
            _against(slow, "slow gateway", "slow gateway, base", 2000, 256),
        ),
        _Target(
            "a hundred tiers: TicketBook ÷ the base", "≥ 2", _against(runs, tiers, f"{tiers}, base")
        ),
        _Target(
            "the page's form: TicketBook ÷ the base", "≥ 1.5", _against(runs, "form", "form, base")
        ),
        _Target("one tier: lanes on ÷ lanes off", "–", _against(runs, "book", "lanes off")),
        _Target(
            "a hundred tiers: lanes on ÷ lanes off",
            "–",
            _against(runs, tiers, f"{tiers}, lanes off"),
        ),
    ]


def _reading(runs: list[Run]) -> list[_Target]:
    aims = {
        "availability": ("availability", "≥ 2"),
        "list": ("the list of concerts", "≥ 2"),
        "page": ("a concert's page, not logged in", "≥ 2"),
        "newlist": ("the list of concerts, never from a copy", "–"),
        "mine": ("my bookings", "–"),
    }
    growing = {"newlist": "the list of concerts, never from a copy", "mine": "my bookings"}
    return [
        *(
            _Target(
                f"{what}: TicketBook ÷ the base",
                aim,
                _against(runs, f"{kind}, TicketBook", f"{kind}, base"),
            )
            for kind, (what, aim) in aims.items()
        ),
        *(
            _Target(
                f"{what}: small site ÷ large site",
                "≤ 1.5",
                _against(runs, f"{kind}, TicketBook", f"{kind}, large site"),
            )
            for kind, what in growing.items()
        ),
    ]


def _crowds(results: Results) -> list[_Target]:
    many, junk = results.many, [arrivals.run for arrivals in results.junk]
    wrong = sorted({status for run in many for status in run.errors if status != "503"})
    lines = [
        _Target(
            "1,000 connections that book: 4,000 slow and idle ones beside them ÷ none beside them",
            "≥ 0.8",
            _against(many, "5,000 connections", "1,000 connections", 1000),
        ),
        _Target("5,000 connections: errors", "none except 503", ", ".join(wrong) or "none"),
        _Target(
            "5,000 connections: memory of the web server", "< 600 MB", f"{_megabytes(many):.0f} MB"
        ),
        _Target(
            "bookings at half the rate: with junk ÷ without junk",
            "≥ 0.9",
            _against(
                junk, "bookings at half the rate, with junk", "bookings at half the rate", 256
            ),
        ),
    ]
    if spike := results.spike:
        lines += [
            _Target(
                "spike: average until the last ticket ÷ best second",
                "≥ 0.9",
                f"{spike.sustained / spike.peak:.2f}",
            ),
            _Target(
                "spike: p50 of refusals",
                "< 50 ms",
                f"{spike.p50(409):.0f} ms (bookings: {spike.p50(201):.0f} ms)",
            ),
        ]
    if cost := results.cost:
        lines.append(
            _Target(
                "updates of the tier's row that stayed in their page (HOT)",
                "≥ 99 %",
                f"{cost.hot:.1%}",
            )
        )
    return lines


def _megabytes(many: list[Run]) -> float:
    return max(run.look.megabytes for run in many if run.look and run.what == "5,000 connections")
