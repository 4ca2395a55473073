"""Nobody pays anything but what they agreed to, and nobody can pay for what is gone."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import inf

from chaos.case import Case, Finding, who_asked
from chaos.history import OK, REFUSED, Attempt
from chaos.stories import CLOCKS, NOTHING_STORED, Story


@dataclass(frozen=True)
class Price:
    """A price of one ticket, and when it may have been the tier's."""

    amount: Decimal
    earliest: float
    latest: float


def not_as_agreed(case: Case) -> Iterator[Finding]:
    """A booking costs no more than its client agreed to, and what its tier cost then. "Changed" is true."""
    prices = {tier: prices_of(case, tier) for tier in case.facts.tiers}
    for story in agreements(case):
        yield from _too_dear(story)
        yield from _never_its_price(story, prices.get(story.tier))
    for attempt in case.history.attempts:
        # The page of a guest may say that something else has changed, or that it is cheaper now.
        told = "price" in (attempt.answer or {})
        if attempt.code == "changed" and told and attempt.request["tier"] in prices:
            yield from _nothing_changed(attempt, prices[attempt.request["tier"]])
    for payment in case.facts.payments:
        row = case.facts.bookings.get(payment.booking)
        amount = Decimal(payment.amount)  # 0 if it was closed before it was begun
        if row is not None and amount and amount != Decimal(row.total):
            yield Finding(
                f"The payment page asks {amount} for booking {payment.booking}, which costs {row.total}.",
                rows=(payment.booking,),
            )


def agreements(case: Case) -> list[Story]:
    return [
        story
        for story in case.stories.values()
        if story.row is not None and story.row.source == "ONLINE"
    ]


def _too_dear(story: Story) -> Iterator[Finding]:
    assert story.row is not None
    makers = [each for each in story.asked if _may_have_made(each, story)]
    limits = [_limit(attempt) for attempt in makers]
    if limits and Decimal(story.row.total) > max(limits):
        whom = ", ".join(map(who_asked, makers[:4]))
        yield Finding(
            f"Booking {story.booking} costs {story.row.total}, and {whom} agreed to {max(limits)} at most.",
            tuple(makers),
            (story.booking,),
        )


def _may_have_made(attempt: Attempt, story: Story) -> bool:
    refused = attempt.outcome == REFUSED and attempt.code in NOTHING_STORED
    return attempt.request["quantity"] == story.quantity and not refused


def _limit(attempt: Attempt) -> Decimal:
    return Decimal(attempt.request.get("max_total", "Infinity"))


def _never_its_price(story: Story, prices: list[Price] | None) -> Iterator[Finding]:
    assert story.row is not None
    price = Decimal(story.row.total) / story.row.quantity
    if prices and not could_be(price, prices, story.earliest, story.latest):
        yield Finding(
            f"Booking {story.booking} costs {price} a ticket, and its tier did not between second "
            f"{story.earliest:.3f} and {story.latest:.3f}.",
            tuple(story.asked),
            (story.booking,),
        )


def _nothing_changed(attempt: Attempt, prices: list[Price]) -> Iterator[Finding]:
    price, quantity = Decimal(attempt.answer["price"]), attempt.request["quantity"]
    true = not prices or could_be(price, prices, attempt.began, attempt.ended)
    if not true or price * quantity <= _limit(attempt):
        yield Finding(
            f"{who_asked(attempt)} agreed to {_limit(attempt)} for {quantity} tickets, and was told that "
            f"they cost {price} each now, which was not so.",
            (attempt,),
            (attempt.request["tier"],),
        )


def prices_of(case: Case, tier: str) -> list[Price]:
    """All that a ticket of this tier may have cost, and when; an empty list if that is not known."""
    changes = [
        attempt
        for attempt in case.history.attempts
        if attempt.verb == "price"
        and attempt.outcome != REFUSED
        and attempt.request["tier"] == tier
    ]
    done = [attempt for attempt in changes if attempt.outcome == OK]
    if changes and changes[0] not in done:
        return []  # nobody was told what it had been before
    first = done[0].answer["old"] if done else case.facts.tiers[tier].price
    # A price ends at the latest when the next change is done.
    ends = [*(attempt.ended for attempt in done), inf]
    prices = [Price(Decimal(first), -inf, ends[0])]
    for attempt, end in zip(done, ends[1:], strict=True):
        prices.append(Price(Decimal(attempt.request["price"]), attempt.began, end))
    for attempt in changes:
        if attempt.outcome != OK:
            prices.append(Price(Decimal(attempt.request["price"]), attempt.began, inf))
    return prices


def could_be(amount: Decimal, prices: list[Price], begin: float, end: float) -> bool:
    return any(
        each.amount == amount and each.earliest <= end and begin <= each.latest for each in prices
    )


def open_payment(case: Case) -> Iterator[Finding]:
    """A payment is closed at the gateway before the tickets go back. After that nobody can make it."""
    for payment in case.facts.payments:
        story = case.stories.get(payment.booking)
        if story is None or story.row is None or story.row.status == "PENDING":
            continue
        if payment.state == "open":
            yield Finding(
                f"Booking {payment.booking} is {story.row.status}, and its payment can still be made.",
                rows=(payment.booking,),
            )
            continue
        told = min(story.shown_as("FAILED"), key=lambda each: each.attempt.ended, default=None)
        if told is None or payment.closed_at is None:
            continue
        at = told.attempt.ended
        given_up = (
            at > story.earliest + case.facts.gives_up_after
        )  # the gateway was silent for so long
        if at + CLOCKS < payment.closed_at and not given_up:
            yield Finding(
                f"{who_asked(told.attempt)} was told at second {at:.3f} that booking {payment.booking} is "
                f"FAILED, and until second {payment.closed_at:.3f} it could be paid.",
                (told.attempt,),
                (payment.booking,),
            )
