"""What is sold, held, in stock and refused fits together, at each moment and in the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import inf, nextafter

from chaos.case import BEHIND, Case, Finding, left_said, who_asked
from chaos.history import OK, Attempt
from chaos.stock_order import Operation
from chaos.stories import HOLDS, Steps, Story


def oversold(case: Case) -> Iterator[Finding]:
    """At no moment may the tickets that are certainly sold or held be more than can have existed."""
    for tier, row in case.facts.tiers.items():
        stories = case.by_tier[tier]
        capacity = case.values(tier, "total")
        sold = Steps(change for story in stories for change in story.certain())
        lowered = [nextafter(latest, inf) for latest in capacity.latest if abs(latest) < inf]
        for time in sorted({*sold.times, *lowered}):
            most = max(capacity.between(time, time))
            if sold.at(time) > most:
                yield _too_many(case, tier, time, sold.at(time), most)
                break
        held = sum(_kept(story) for story in stories)
        if held > row.total:
            yield Finding(
                f"In the end the bookings of tier {tier} hold {held} tickets of {row.total}.",
                rows=(tier,),
            )


def _too_many(case: Case, tier: str, time: float, sold: int, most: int) -> Finding:
    holding = [story for story in case.by_tier[tier] if Steps(story.certain()).at(time) > 0]
    last = sorted(holding, key=lambda story: story.latest)[-3:]
    attempts = tuple(
        shown.attempt
        for story in last
        for shown in story.shown
        if shown.attempt.ended == story.latest
    )
    return Finding(
        f"At second {time:.3f} {sold} tickets of tier {tier} were sold or held, and at most {most} "
        f"existed. The last ones were told to {', '.join(map(who_asked, attempts))}.",
        attempts,
        (tier, *(story.booking for story in holding)),
    )


def _kept(story: Story) -> int:
    if story.row is None or story.row.status not in HOLDS:
        return 0
    return story.row.quantity - story.row.returned


def gave_back_twice(case: Case) -> Iterator[Finding]:
    """What is in stock, kept back, sold and held makes up the capacity, and each return has one row."""
    for tier, row in case.facts.tiers.items():
        held = sum(_kept(story) for story in case.by_tier[tier])
        over = row.available + row.kept_back + held - row.total
        if over:
            what = "went back twice" if over > 0 else "never went back"
            yield Finding(
                f"Tier {tier} has {row.available} tickets in stock and {row.kept_back} kept back, and "
                f"its bookings hold {held}, of {row.total}: {abs(over)} {what}.",
                rows=(tier,),
            )
    returns = defaultdict(list)
    for made in case.facts.returns:
        returns[made.booking].append(made)
    for pk, booking in case.facts.bookings.items():
        rows = returns[pk]
        number, keys = sum(made.tickets for made in rows), Counter(made.key for made in rows)
        names = (pk, *(made.id for made in rows))
        if number != booking.returned or number > booking.quantity:
            yield Finding(
                f"Booking {pk} of {booking.quantity} tickets has returned {booking.returned}, and the "
                f"rows of its returns say {number}.",
                rows=names,
            )
        for key, times in keys.items():
            if times > 1:
                under = f"under the key {key}" if key else "by cancelling"
                yield Finding(f"Booking {pk} returned tickets {under} {times} times.", rows=names)


def sold_out_lie(case: Case) -> Iterator[Finding]:
    """ "Sold out" was told, and in all that time enough tickets were certainly left."""
    asked = defaultdict(list)
    for attempt in case.refused_for_stock:
        asked[attempt.request["tier"]].append(attempt)
    for tier, attempts in asked.items():
        totals, kept = case.values(tier, "total"), case.values(tier, "kept_back")
        out = Steps(change for story in case.by_tier[tier] for change in story.possible())
        moments = sorted(
            {*out.times, *totals.earliest, *totals.latest, *kept.earliest, *kept.latest}
        )
        for attempt in attempts:
            begin, end = attempt.began - BEHIND, attempt.ended
            least = min(
                min(totals.between(time, time)) - max(kept.between(time, time)) - out.at(time)
                for time in [begin, *(time for time in moments if begin < time <= end)]
            )
            wanted, left = attempt.request["quantity"], left_said(attempt)
            if least >= wanted or (left is not None and left >= wanted):
                least = max(least, left or 0)
                yield Finding(
                    f"{who_asked(attempt)} was refused {wanted} tickets of tier {tier} between second "
                    f"{begin:.3f} and {end:.3f}, and at least {least} were left all the time.",
                    (attempt,),
                    (tier,),
                )


def limit_exceeded(case: Case) -> Iterator[Finding]:
    """Nobody ever certainly has more tickets than allowed, as a guest and with an account together.

    Staff may waive the limit.
    """
    for (user, tier), stories in limited(case).items():
        limit = case.facts.tiers[tier].max_per_customer
        assert limit is not None
        has = Steps(change for story in stories for change in _certainly_theirs(case, story))
        times = [time for time in has.times if has.at(time) > limit]
        in_the_end = sum(_kept(each) for each in stories if each.row and not each.row.handed_to)
        if times or in_the_end > limit:
            time = times[0] if times else inf
            when = f"at second {time:.3f}" if times else "in the end"
            holding = [each for each in stories if Steps(each.certain()).at(time) > 0]
            number = has.at(time) if times else in_the_end
            yield Finding(
                f"{user} had {number} tickets of tier {tier} {when}, and {limit} are allowed.",
                tuple(attempt for each in holding for attempt in each.asked),
                (tier, *(each.booking for each in holding)),
            )


def _certainly_theirs(case: Case, story: Story) -> Iterator[tuple[float, int]]:
    """When whoever has made a booking certainly has its tickets; not once it may be another's."""
    return _until(case.handed_over(story.booking)[0], story.certain())


def _possibly_theirs(case: Case, story: Story) -> Iterator[tuple[float, int]]:
    return _until(case.handed_over(story.booking)[1], story.possible())


def _until(end: float, changes: Iterator[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    left = 0
    for time, number in changes:
        if time <= end:
            left += number
            yield time, number
    if end < inf:
        yield nextafter(end, inf), -left


def limit_lie(case: Case) -> Iterator[Finding]:
    """The limit was told to be reached, and so many tickets the customer cannot have had by then."""
    theirs = defaultdict(list)
    for story in case.stories.values():
        if story.row is not None:
            theirs[story.row.user, story.tier].append(story)
    for attempt in refused_for_limit(case):
        tier = attempt.request["tier"]
        stories = theirs[case.history.person_of(attempt), tier]
        has = Steps(change for story in stories for change in _possibly_theirs(case, story))
        during = [time for time in has.times if attempt.began < time <= attempt.ended]
        most = max(has.at(time) for time in [attempt.began, *during])
        limit, wanted = case.facts.tiers[tier].max_per_customer, attempt.request["quantity"]
        if limit is None or most + wanted <= limit:
            yield Finding(
                f"{who_asked(attempt)} was refused {wanted} tickets of tier {tier} for the limit of {limit}, "
                f"and had {most} at most.",
                (attempt,),
                (tier, *(story.booking for story in stories)),
            )


def refused_for_limit(case: Case) -> list[Attempt]:
    return [
        attempt
        for attempt in case.history.attempts
        if attempt.code == "customer_limit_reached" and attempt.request["tier"] in case.facts.tiers
    ]


def limited(case: Case) -> dict[tuple[str, str], list[Story]]:
    found = defaultdict(list)
    for story in case.stories.values():
        tier, row = case.facts.tiers.get(story.tier), story.row
        if row and row.source == "ONLINE" and tier and tier.max_per_customer is not None:
            found[row.user, story.tier].append(story)
    return found


def stock_order(case: Case) -> Iterator[Finding]:
    """Some order of takes, give-backs and changes explains every refusal, and the stock is never below 0."""
    for tier, order in case.orders.items():
        if order.stuck is not None:
            stocks = ", ".join(map(str, order.stocks))
            meanwhile = "; ".join(other.name for other in order.at_work[:8]) or "nothing"
            yield Finding(
                f"No order of events of tier {tier} has a place for this: {order.stuck.name}. "
                f"When it ended, {stocks} tickets can have been left; at work meanwhile: {meanwhile}.",
                tuple(_named(case, [order.stuck, *order.at_work[:8]])),
                (tier,),
            )
    for attempt, tier in _lost_changes(case):
        yield Finding(
            f"{who_asked(attempt)} was told that {attempt.verb} of tier {tier} is done "
            f"({attempt.request}), and the tier's history does not have it.",
            (attempt,),
            (tier,),
        )


def _named(case: Case, operations: Iterable[Operation]) -> Iterator[Attempt]:
    names = {name for operation in operations for name in operation.name.split("; ")}
    for attempt in case.history.attempts:
        if any(who_asked(attempt) in name for name in names):
            yield attempt


def _lost_changes(case: Case) -> Iterator[tuple[Attempt, str]]:
    made = Counter(
        (change.made.tier, change.made.field, change.made.old, change.made.new)
        for changes in case.changes.values()
        for change in changes
    )
    for attempt in case.history.attempts:
        if attempt.outcome == OK and attempt.verb in {"capacity", "keep_back"}:
            tier, old = attempt.request["tier"], attempt.answer["old"]
            name = "total" if attempt.verb == "capacity" else "kept_back"
            new = attempt.request["total" if attempt.verb == "capacity" else "tickets"]
            made[tier, name, old, new] -= 1
            if made[tier, name, old, new] < 0:
                yield attempt, tier


def ordered(case: Case) -> int:
    return sum(len(case.operations[tier]) for tier, each in case.orders.items() if each.decided)
