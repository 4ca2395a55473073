"""The history and the facts of a run, and what follows from them for the checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf

from chaos.facts import Facts
from chaos.history import OK, REFUSED, Attempt, History
from chaos.stock_order import Operation, Order, find_order
from chaos.stories import BOOKS, Change, Shown, Story, Values, changes_of, presses_of, stories_of

BEHIND = 0.1  # seconds that a refusal for lack of stock may be behind a give-back


@dataclass(frozen=True)
class Violation:
    check: str
    sentence: str
    clients: tuple[str, ...] = ()
    requests: tuple[int, ...] = ()  # the `n` of attempts
    rows: tuple[str, ...] = ()  # keys of bookings, refunds and tiers


@dataclass(frozen=True)
class Finding:
    sentence: str
    attempts: tuple[Attempt, ...] = ()
    rows: tuple[str, ...] = ()

    def by(self, check: str) -> Violation:
        clients = tuple(dict.fromkeys(attempt.client for attempt in self.attempts))
        requests = tuple(dict.fromkeys(attempt.n for attempt in self.attempts))
        return Violation(check, self.sentence, clients, requests, self.rows)


def who_asked(attempt: Attempt) -> str:
    return f"{attempt.client} (request {attempt.n})"


@dataclass
class Case:
    """The history and the facts, and what follows from them."""

    history: History
    facts: Facts

    def is_own(self, attempt: Attempt, booking: str) -> bool:
        """Whether the client asked about a booking of its own customer.

        What a guest has kept in an account is that account's too, from then on.
        """
        row, who = self.facts.bookings.get(booking), self.history.customer_of(attempt)
        if row is None or who == row.maker:
            return row is not None
        return row.kept and who == row.user and self._may_be_kept(row.user, attempt.ended)

    def may_have_moved(self, attempt: Attempt, booking: str) -> bool:
        """Whether another customer may have had it when the client asked: an account, or a new address."""
        row = self.facts.bookings[booking]
        if self.handed_over(booking)[0] <= attempt.ended:
            return True
        is_maker = self.history.customer_of(attempt) == row.maker
        return row.kept and is_maker and self._may_be_kept(row.user, attempt.ended)

    def handed_over(self, booking: str) -> tuple[float, float]:
        """When it can have gone to another address at first, and at last; `inf` for never."""
        row = self.facts.bookings.get(booking)
        if row is None or not row.handed_to:
            return inf, inf
        sent = self._handings.get(booking, [])
        told = [attempt.ended for attempt in sent if attempt.outcome == OK]
        return min((each.began for each in sent), default=inf), min(told, default=inf)

    @cached_property
    def _handings(self) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {}
        for attempt in self.history.attempts:
            if attempt.verb == "hand_over" and attempt.outcome != REFUSED:
                found.setdefault(attempt.request["booking"], []).append(attempt)
        return found

    def _may_be_kept(self, person: str, time: float) -> bool:
        return any(each.began <= time for each in self._keeps.get(person, []))

    def kept_at(self, story: Story) -> float:
        """When a guest's booking is in the account at the latest; `inf` if that is not certain."""
        if story.row is None or not story.row.kept:
            return inf
        # One that began when the booking was there has moved it, or one before has.
        done = [
            each
            for each in self._keeps.get(story.row.user, [])
            if each.outcome == OK and each.began > story.latest
        ]
        return min((each.ended for each in done), default=inf)

    @cached_property
    def _keeps(self) -> dict[str, list[Attempt]]:
        """By person: when they kept their guest's bookings in their account, but for refusals."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.history.attempts:
            if attempt.verb == "keep" and attempt.outcome != REFUSED:
                found.setdefault(self.history.person_of(attempt), []).append(attempt)
        return found

    @cached_property
    def stories(self) -> dict[str, Story]:
        return stories_of(self.history, self.facts)

    @cached_property
    def by_tier(self) -> dict[str, list[Story]]:
        found: dict[str, list[Story]] = {tier: [] for tier in self.facts.tiers}
        for story in self.stories.values():
            found.setdefault(story.tier, []).append(story)
        return found

    @cached_property
    def changes(self) -> dict[str, list[Change]]:
        return changes_of(self.history, self.facts)

    @cached_property
    def presses(self) -> dict[str, list[Attempt]]:
        return presses_of(self.history)

    def first_value(self, tier: str, name: str) -> int:
        """What a tier's `total` or `kept_back` was before the run."""
        value: int = getattr(self.facts.tiers[tier], name)
        for change in self.changes.get(tier, []):
            if change.made.field == name:
                value -= change.made.new - change.made.old
        if name == "kept_back":  # what staff booked out of it is gone from it
            value += sum(story.quantity for story in self.by_tier[tier] if story.out_of_kept)
        return value

    def values(self, tier: str, name: str) -> Values:
        changes = [each for each in self.changes.get(tier, []) if each.made.field == name]
        return Values(self.first_value(tier, name), changes)

    @cached_property
    def refused_for_stock(self) -> list[Attempt]:
        return [
            attempt
            for attempt in self.history.attempts
            if attempt.verb in BOOKS
            and attempt.outcome == REFUSED
            and attempt.code == "insufficient_tickets"
            and not attempt.request.get("from_kept_back")
            and attempt.request["tier"] in self.facts.tiers
        ]

    @cached_property
    def told(self) -> list[tuple[Story, Shown]]:
        """Each answer by which somebody was told that a booking is, or was, confirmed."""
        return [
            (story, shown)
            for story in self.stories.values()
            for shown in story.shown_as("CONFIRMED", "CANCELLED")
        ]

    @cached_property
    def orders(self) -> dict[str, Order]:
        return {tier: _order_of(self, tier) for tier in self.facts.tiers}

    @cached_property
    def operations(self) -> dict[str, list[Operation]]:
        return {tier: list(_operations(self, tier)) for tier in self.facts.tiers}


def left_said(attempt: Attempt) -> int | None:
    answer = attempt.answer if isinstance(attempt.answer, dict) else {}
    said = answer.get("availableQuantity", answer.get("available"))
    return None if said is None else int(said)


def _order_of(case: Case, tier: str) -> Order:
    stock = case.first_value(tier, "total") - case.first_value(tier, "kept_back")
    return find_order(stock, case.operations[tier])


def _operations(case: Case, tier: str) -> Iterator[Operation]:
    """What moved or refused stock of a tier. A request without any row after quiet has done nothing."""
    count = 0
    for story in case.by_tier[tier]:
        who = ", ".join(map(who_asked, story.asked[:3]))
        took = None
        if not story.out_of_kept:
            name = f"{story.quantity} taken for booking {story.booking} of {who}"
            yield Operation(name, story.earliest, story.latest, -story.quantity)
            took, count = count, count + 1
        for back in story.gave_back:
            by = ", ".join(map(who_asked, back.requests[:3])) or "nobody's request"
            name = f"{back.tickets} given back of booking {story.booking} by {by}"
            yield Operation(name, back.earliest, back.latest, back.tickets, after=took)
            count += 1
    before: dict[str, int] = {}
    for change in case.changes.get(tier, []):
        made, by = change.made, who_asked(change.attempt) if change.attempt else "staff"
        more = made.new - made.old if made.field == "total" else made.old - made.new
        name = f"{made.field} {made.old} → {made.new} by {by}"
        yield Operation(name, change.earliest, change.latest, more, after=before.get("staff"))
        before["staff"], count = count, count + 1
    yield from _refusals(case, tier)


def _refusals(case: Case, tier: str) -> Iterator[Operation]:
    for attempt in case.refused_for_stock:
        if attempt.request["tier"] == tier:
            wanted, left = attempt.request["quantity"], left_said(attempt)
            name = f"{wanted} refused to {who_asked(attempt)}"
            yield Operation(name, attempt.began - BEHIND, attempt.ended, wanted=wanted, left=left)
    for attempt in case.history.attempts:
        answer = attempt.answer or {}
        refused = attempt.verb == "keep_back" and attempt.code == "insufficient_tickets"
        if refused and attempt.request["tier"] == tier and "keptBack" in answer:
            wanted = attempt.request["tickets"] - int(answer["keptBack"])
            name, left = (
                f"{wanted} to keep back refused to {who_asked(attempt)}",
                left_said(attempt),
            )
            yield Operation(name, attempt.began, attempt.ended, wanted=wanted, left=left)
        if attempt.code == REFUSED_TO_DESK.get(attempt.verb) and attempt.request["tier"] == tier:
            wanted, left = abs(attempt.request["tickets"]), left_said(attempt)
            name = f"{wanted} for {attempt.verb} refused to {who_asked(attempt)}"
            yield Operation(name, attempt.began, attempt.ended, wanted=wanted, left=left)


# What the back office says if too few tickets are in stock, by verb.
REFUSED_TO_DESK = {"keep_more_back": "insufficient_tickets", "add_tickets": "capacity_below_sold"}
