"""The report of a long run: a line for each round, and what all of them did together, as Markdown.

    python -m chaos.report [FOLDER]

reads what rounds have left in the runs of this folder (CHAOS_HOME by default), however deep they are. The
referee judges them anew, so a history can be judged by a check that is newer than the run.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chaos import referee
from chaos.facts import Facts
from chaos.history import History
from chaos.system import HOME

HEAD = (
    "| seed | faults | requests | bookings | charges | refunds | mails | at rest after | result |"
)
CONDITIONS = {"with_page": "payment page", "with_cache": "cache server", "no_worker": "no worker"}


@dataclass(frozen=True)
class Round:
    seed: int
    faults: str
    requests: int
    unanswered: int
    bookings: int
    charges: int
    refunds: int
    mails: int
    quiet_after: float  # seconds
    found: str  # what was wrong; empty if nothing was
    examined: dict[str, int]

    def __str__(self) -> str:
        return (
            f"| {self.seed} | {self.faults} | {self.requests:,} | {self.bookings:,} | {self.charges:,} | "
            f"{self.refunds:,} | {self.mails:,} | {self.quiet_after:.0f} s | {self.found or 'kept'} |"
        )


def rounds(folder: Path) -> list[Round]:
    """All rounds that were judged, in order of their seeds."""
    found = [_read(verdict.parent) for verdict in folder.glob("**/runs/*/verdict.json")]
    return sorted(found, key=lambda each: each.seed)


def _read(folder: Path) -> Round:
    history, facts = History.read(folder / "history.jsonl"), Facts.read(folder / "facts.json")
    noted = json.loads((folder / "verdict.json").read_text())
    verdict = referee.verdict(history, facts)
    wrong = Counter(violation.check for violation in verdict.violations)
    wrong.update(["processes"] * len(noted["problems"]))
    return Round(
        seed=history.header.seed,
        faults=_faults(planned.split()[1:] for planned in history.header.schedule),
        requests=len(history.attempts),
        unanswered=sum(not each.status and each.client != "staff" for each in history.attempts),
        bookings=len(facts.bookings),
        charges=len(facts.captures),
        refunds=len(facts.sent_back),
        mails=len(facts.letters),
        quiet_after=noted["quiet_after"],
        found=", ".join(f"**{check}** {number}" for check, number in wrong.items()),
        examined=verdict.examined,
    )


def _faults(planned: Iterable[list[str]]) -> str:
    """`payment page; cut_all, gateway lost ×2` for a schedule."""
    conditions, acts = [], Counter[str]()
    for name, *arguments in planned:
        if name in CONDITIONS:
            conditions.append(CONDITIONS[name])
        else:
            acts[f"{name} {arguments[0]}" if name == "gateway" else name] += 1
    told = [f"{name} ×{number}" if number > 1 else name for name, number in acts.items()]
    return "; ".join(filter(None, [", ".join(conditions), ", ".join(told)]))


def text(played: list[Round]) -> str:
    """The report."""
    if not played:
        return "No round was judged."
    failed = [each.seed for each in played if each.found]
    names = ["requests", "unanswered", "bookings", "charges", "refunds", "mails"]
    sums = ", ".join(f"{sum(getattr(each, name) for each in played):,} {name}" for name in names)
    examined = sum((Counter(each.examined) for each in played), Counter[str]())
    quiet = sorted(each.quiet_after for each in played)
    return "\n".join([
        f"{len(played)} rounds: {sums}. At rest after {quiet[len(quiet) // 2]:.0f} s (median), "
        f"{quiet[-1]:.0f} s at most.",
        f"Rounds in which something was found: {', '.join(map(str, failed)) or 'none'}.",
        f"Looked at: {', '.join(f'{name} {number:,}' for name, number in examined.items())}.",
        "",
        HEAD,
        "|---" * HEAD.count(" | ") + "|---|",
        *map(str, played),
    ])  # fmt: skip


if __name__ == "__main__":
    print(text(rounds(Path(sys.argv[1]) if len(sys.argv) > 1 else HOME)))
