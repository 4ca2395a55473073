"""The referee: decides from the history and the facts whether a promise was broken.

It is pure. A violation names its check, and says in a sentence which clients, requests and rows show it. What
is not certain is never a violation: a request whose outcome is not known may have done its work at any time
after it began, even when its client had given up (chaos/stories.py has these times).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from chaos.case import Case, Finding, Violation
from chaos.checks import answers, bookings, desk, money, papers, prices, reads, stock
from chaos.facts import Facts, unsettled
from chaos.history import History
from chaos.stories import BOOKS


@dataclass
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    # By check: how many things were looked at.
    examined: dict[str, int] = field(default_factory=dict)
    # What a check could not decide, a sentence each. It is no violation.
    undecided: list[str] = field(default_factory=list)


def judge(history: History, facts: Facts) -> list[Violation]:
    return verdict(history, facts).violations


def verdict(history: History, facts: Facts) -> Verdict:
    """As `judge`, with the number of things that each check has examined."""
    case, found = Case(history, facts), Verdict()
    for name, (check, things) in CHECKS.items():
        found.examined[name] = things(case)
        found.violations += [finding.by(name) for finding in check(case)]
    for tier, order in case.orders.items():
        if not order.decided:
            found.undecided.append(f"stock_order of tier {tier}: too many orders are possible.")
    return found


def _not_quiet(case: Case) -> Iterator[Finding]:
    yield from map(Finding, unsettled(case.facts))


def _audit(case: Case) -> Iterator[Finding]:
    yield from map(Finding, case.facts.audit)


Check = Callable[[Case], Iterator[Finding]]
Things = Callable[[Case], int]

# Each check, and how many things it looks at. A run in which that is 0 has shown nothing.
CHECKS: dict[str, tuple[Check, Things]] = {
    "oversold": (stock.oversold, lambda case: len(case.stories)),
    "lost_booking": (bookings.lost_booking, lambda case: len(case.told)),
    "charged_twice": (money.charged_twice, lambda case: len(case.facts.captures)),
    "money_kept": (money.money_kept, lambda case: len(case.facts.captures)),
    "refunded_twice": (
        money.refunded_twice,
        lambda case: len(case.facts.refunds) + len(case.facts.sent_back),
    ),
    "wrong_refund": (money.wrong_refund, lambda case: len(case.facts.refunds)),
    "gave_back_twice": (
        stock.gave_back_twice,
        lambda case: sum(len(story.gave_back) for story in case.stories.values()),
    ),
    "key_story": (bookings.key_story, lambda case: bookings.number_shown(case, BOOKS)),
    "sold_out_lie": (stock.sold_out_lie, lambda case: len(case.refused_for_stock)),
    "limit_exceeded": (
        stock.limit_exceeded,
        lambda case: sum(len(stories) for stories in stock.limited(case).values()),
    ),
    "limit_lie": (stock.limit_lie, lambda case: len(stock.refused_for_limit(case))),
    "not_quiet": (_not_quiet, lambda case: len(case.facts.bookings) + len(case.facts.refunds)),
    "audit": (_audit, lambda case: len(case.facts.tiers)),
    "stock_order": (stock.stock_order, stock.ordered),
    "kept_after_call_off": (
        bookings.kept_after_call_off,
        lambda case: len(bookings.of_called_off(case)),
    ),
    "stale_answer": (bookings.stale_answer, lambda case: len(bookings.reads(case))),
    "stranger": (
        bookings.stranger,
        lambda case: sum(len(story.shown) for story in case.stories.values()),
    ),
    "stale_availability": (reads.stale_availability, lambda case: len(reads.told(case))),
    "not_as_agreed": (prices.not_as_agreed, lambda case: len(prices.agreements(case))),
    "open_payment": (prices.open_payment, lambda case: len(case.facts.payments)),
    "tickets": (papers.tickets, lambda case: len(case.facts.tickets)),
    "mails": (papers.mails, lambda case: len(case.facts.mails)),
    "told_twice": (papers.told_twice, lambda case: len(case.facts.letters)),
    "pressed_once": (desk.pressed_once, lambda case: len(desk.presses(case))),
    "hidden": (desk.hidden, lambda case: len(desk.shown_or_hidden(case))),
    "handed_over": (desk.handed_over, lambda case: len(desk.handings(case))),
    "told_of_moves": (desk.told_of_moves, lambda case: len(desk.moves(case))),
    "no_answer": (answers.no_answer, lambda case: len(answers.http(case))),
    "server_error": (answers.server_error, lambda case: len(answers.http(case))),
}
