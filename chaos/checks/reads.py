"""What pages and clients read of the stock was so, a moment ago at most."""

from collections.abc import Iterator
from decimal import Decimal

from chaos.case import Case, Finding, who_asked
from chaos.checks.prices import could_be, prices_of
from chaos.history import OK, Attempt
from chaos.stories import Steps

AGE = 1.0  # seconds; MAX_AGE of ticketbook/copies/store.py, before the request came
TOLERANCE = 0.05


def told(case: Case) -> list[tuple[Attempt, str, int, Decimal]]:
    """Each answer that said of a tier how many tickets are available, and their price."""
    found = []
    for attempt in case.history.attempts:
        if attempt.verb not in {"availability", "concert"} or attempt.outcome != OK:
            continue
        for body in attempt.answer.get("tiers") or attempt.answer.get("ticketTiers") or []:
            tier = body.get("tierId") or body["id"]
            if tier in case.facts.tiers:
                price = Decimal(body["price"])
                found.append((attempt, tier, int(body["availableQuantity"]), price))
    return found


def stale_availability(case: Case) -> Iterator[Finding]:
    """So many tickets were available, at this price, at some moment since a second before the request."""
    bounds = {tier: _Bounds(case, tier) for tier in case.facts.tiers}
    prices = {tier: prices_of(case, tier) for tier in case.facts.tiers}
    for attempt, tier, available, price in told(case):
        begin, end = attempt.began - AGE - TOLERANCE, attempt.ended
        least, most = bounds[tier].between(begin, end)
        if not least <= available <= most:
            yield Finding(
                f"{who_asked(attempt)} was told that {available} tickets of tier {tier} are available, and "
                f"between second {begin:.3f} and {end:.3f} there were {least} to {most}.",
                (attempt,),
                (tier,),
            )
        elif prices[tier] and not could_be(price, prices[tier], begin, end):
            yield Finding(
                f"{who_asked(attempt)} was told that a ticket of tier {tier} costs {price}, and it did not "
                f"between second {begin:.3f} and {end:.3f}.",
                (attempt,),
                (tier,),
            )


class _Bounds:
    """How many tickets of a tier can have been available."""

    def __init__(self, case: Case, tier: str) -> None:
        stories = case.by_tier[tier]
        self.totals, self.kept = case.values(tier, "total"), case.values(tier, "kept_back")
        self.certain = Steps(change for story in stories for change in story.certain())
        self.possible = Steps(change for story in stories for change in story.possible())
        # What staff book out of what is kept back lowers that too, and no change says so.
        self.out_of_kept = sum(story.quantity for story in stories if story.out_of_kept)
        self.moments = sorted({
            *self.certain.times, *self.possible.times,
            *self.totals.earliest, *self.totals.latest, *self.kept.earliest, *self.kept.latest,
        })  # fmt: skip

    def between(self, begin: float, end: float) -> tuple[int, int]:
        """The least and the most at any moment of this time."""
        times = [begin, *(time for time in self.moments if begin < time <= end)]
        least = min(
            min(self.totals.between(time, time))
            - max(self.kept.between(time, time))
            - self.possible.at(time)
            for time in times
        )
        most = max(
            max(self.totals.between(time, time))
            - min(self.kept.between(time, time))
            - self.certain.at(time)
            for time in times
        )
        return least, most + self.out_of_kept
