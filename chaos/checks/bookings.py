"""What clients were told of bookings and keys is so, and stays so."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from math import inf

from chaos.case import Case, Finding, who_asked
from chaos.facts import owed
from chaos.history import DESK, OK, REFUSED, STAFF, UNKNOWN, Attempt
from chaos.stories import (
    BOOKS,
    GIVES_BACK,
    HOLDS,
    NOTHING_STORED,
    RANK,
    Shown,
    Story,
    causes_of,
)

PAGE = 100  # bookings in one answer to `my_bookings`, as the clients ask for it


def lost_booking(case: Case) -> Iterator[Finding]:
    """What was told is so: a booking is CONFIRMED, or was given back by request or by calling off."""
    named = set()
    for story, shown in case.told:
        wrong = _wrong_booking(story, shown)
        if wrong and (story.booking, wrong) not in named:
            named.add((story.booking, wrong))
            sentence = (
                f"{who_asked(shown.attempt)} was told of booking {story.booking}, which {wrong}."
            )
            yield Finding(sentence, (shown.attempt,), (story.booking,))
    yield from _unasked_returns(case)
    yield from _lost_returns(case)


def _wrong_booking(story: Story, shown: Shown) -> str:
    row, request = story.row, shown.attempt.request
    if row is None:
        return "does not exist"
    if shown.attempt.verb in BOOKS and row.key != request["key"]:
        return f"has the key {row.key}"
    if row.status not in {"CONFIRMED", "CANCELLED"}:
        return f"was {shown.status} then, and is {row.status}"
    if shown.status == "CANCELLED" and row.status != "CANCELLED":
        return f"was CANCELLED then, and is {row.status}"
    if row.status == "CANCELLED" and not any(back.requests for back in story.gave_back):
        return "is CANCELLED, and nobody asked for that"
    return ""


def _unasked_returns(case: Case) -> Iterator[Finding]:
    asked, ends = defaultdict(list), defaultdict(list)
    for attempt in case.history.attempts:
        if attempt.verb in GIVES_BACK and attempt.outcome != REFUSED:
            asked[attempt.request["booking"]].append(attempt)
        if attempt.verb == "call_off" and attempt.outcome != REFUSED:
            ends[attempt.request["concert"]].append(attempt)
    for made in case.facts.returns:
        row = case.facts.bookings.get(made.booking)
        if row is None:
            continue
        called_off = ends[case.facts.tiers[row.tier].concert]
        if not any(causes_of(made, row, asked[made.booking], called_off)):
            yield Finding(
                f"Booking {made.booking} has returned {made.tickets} tickets (return {made.id}), and "
                f"nobody asked for that.",
                rows=(made.booking, made.id),
            )


def _lost_returns(case: Case) -> Iterator[Finding]:
    rows = {(made.booking, made.key): made for made in case.facts.returns}
    for attempt in case.history.attempts:
        if attempt.verb != "return" or attempt.outcome != OK:
            continue
        booking, number = attempt.request["booking"], attempt.request["quantity"]
        made = rows.get((booking, attempt.request["key"]))
        if made is None or made.tickets != number:
            yield Finding(
                f"{who_asked(attempt)} was told that {number} tickets of booking {booking} went back, and "
                f"{f'return {made.id} has {made.tickets}' if made else 'no row says so'}.",
                (attempt,),
                (booking,),
            )


def key_story(case: Case) -> Iterator[Finding]:
    """One key, one booking, one amount. A decline is never followed by a confirmation."""
    stories_of_key: dict[tuple[str, str], dict[str, Story]] = defaultdict(dict)
    for story in case.stories.values():
        for shown in story.shown:
            if shown.attempt.verb in BOOKS:
                customer = case.history.customer_of(shown.attempt)
                stories_of_key[customer, shown.attempt.request["key"]][story.booking] = story
        yield from _one_story(story)
    for (_, key), stories in stories_of_key.items():
        if len(stories) > 1:
            attempts = [shown.attempt for each in stories.values() for shown in each.shown]
            attempts = [each for each in attempts if each.request.get("key") == key]
            said = ", ".join(stories)
            yield Finding(
                f"Under the key {key} several bookings were told: {said}.",
                tuple(attempts),
                tuple(stories),
            )
    rows = Counter((row.maker, row.key) for row in case.facts.bookings.values())
    for (user, key), number in rows.items():
        if number > 1:
            same = tuple(pk for pk, row in case.facts.bookings.items() if row.key == key)
            yield Finding(f"{user} has {number} bookings with the key {key}.", rows=same)
    yield from _reused_without_use(case)


def _one_story(story: Story) -> Iterator[Finding]:
    row, pk = story.row, story.booking
    answers = [each for each in story.shown if each.attempt.verb in BOOKS]
    amounts = {each.body["totalPrice"] for each in story.shown if "totalPrice" in each.body}
    if row is not None:
        amounts.add(row.total)
        makers = [
            each
            for each in story.asked
            if (each.request["tier"], each.request["quantity"]) == (row.tier, row.quantity)
        ]
        if not makers:
            yield Finding(f"Nobody asked for booking {pk}, under the key {row.key}.", rows=(pk,))
        elif all(each.outcome == REFUSED and each.code in NOTHING_STORED for each in makers):
            whom = ", ".join(map(who_asked, makers))
            yield Finding(f"{whom} got nothing, and has booking {pk}.", tuple(makers), (pk,))
    if len(set(map(Decimal, amounts))) > 1:
        told = tuple(each.attempt for each in answers)
        yield Finding(f"Booking {pk} has several prices: {sorted(amounts)}.", told, (pk,))
    for shown in answers:
        asked = shown.attempt.request
        if shown.body and shown.body.get("quantity", asked["quantity"]) != asked["quantity"]:
            yield Finding(
                f"{who_asked(shown.attempt)} asked for {asked['quantity']} tickets, and was told of booking "
                f"{pk} with {shown.body['quantity']}.",
                (shown.attempt,),
                (pk,),
            )
    failed, paid = story.shown_as("FAILED"), story.shown_as("CONFIRMED", "CANCELLED")
    if failed and paid:
        first, other = failed[0].attempt, paid[-1].attempt
        yield Finding(
            f"Booking {pk} was declined to {who_asked(first)} and confirmed to {who_asked(other)}.",
            (first, other),
            (pk,),
        )
    yield from _gone_backwards(story, BOOKS)


def _reused_without_use(case: Case) -> Iterator[Finding]:
    rows = defaultdict(list)
    for pk, row in case.facts.bookings.items():
        user = row.maker if case.history.header.customers else ""
        rows[user, row.key].append((pk, row.tier, row.quantity))
    for attempt in case.history.attempts:
        if attempt.verb in BOOKS and attempt.code == "idempotency_key_reused":
            wish = attempt.request["tier"], attempt.request["quantity"]
            theirs = rows[case.history.customer_of(attempt), attempt.request["key"]]
            if all((tier, quantity) == wish for _, tier, quantity in theirs):
                yield Finding(
                    f"{who_asked(attempt)} was told that its key is another booking's, and it is not.",
                    (attempt,),
                    tuple(pk for pk, *_ in theirs),
                )


def stale_answer(case: Case) -> Iterator[Finding]:
    """An answer shows what an earlier one had shown: the booking, and that it was cancelled or settled."""
    known: dict[str, list[tuple[float, str]]] = defaultdict(list)  # by customer
    first: dict[str, float] = {}
    for story in case.stories.values():
        yield from _gone_backwards(story, GIVES_BACK | {"look_up", "my_bookings"})
        if story.latest < inf and story.row is not None:
            first[story.booking] = story.latest
            if story.row.source == "ONLINE":
                known[story.row.maker].append((story.latest, story.booking))
            if (kept_at := case.kept_at(story)) < inf:
                known[story.row.user].append((kept_at, story.booking))
    for attempt in reads(case):
        if attempt.verb != "my_bookings":
            booking = attempt.request["booking"]
            own = case.is_own(attempt, booking) and not case.may_have_moved(attempt, booking)
            if own and attempt.code == "not_found" and first.get(booking, inf) < attempt.began:
                sentence = (
                    f"{who_asked(attempt)} did not find booking {booking}, which was told before."
                )
                yield Finding(sentence, (attempt,), (booking,))
            continue
        listed = {body["id"] for body in attempt.answer}
        oldest = min(listed, default="") if len(listed) >= PAGE else ""
        for told, booking in known[case.history.customer_of(attempt)]:
            missing = told < attempt.began and booking not in listed and booking >= oldest
            if missing and case.handed_over(booking)[0] > attempt.ended:
                yield Finding(
                    f"{who_asked(attempt)} was not shown booking {booking}, which was told at second "
                    f"{told:.3f}.",
                    (attempt,),
                    (booking,),
                )


def reads(case: Case) -> list[Attempt]:
    about_one = GIVES_BACK | {"look_up"}
    return [
        attempt
        for attempt in case.history.attempts
        if (attempt.verb in about_one and attempt.outcome != UNKNOWN)
        or (attempt.verb == "my_bookings" and attempt.outcome == OK)
    ]


def _gone_backwards(story: Story, verbs: set[str]) -> Iterator[Finding]:
    # An answer that began after another had ended shows an earlier state.
    shown = [each for each in story.shown if each.status]
    ended = sorted(shown, key=lambda each: each.attempt.ended)
    latest, at = None, 0
    for each in sorted(shown, key=lambda each: each.attempt.began):
        while at < len(ended) and ended[at].attempt.ended < each.attempt.began:
            if latest is None or _progress(ended[at]) > _progress(latest):
                latest = ended[at]
            at += 1
        wrong = latest is not None and _progress(each) < _progress(latest)
        if latest is not None and wrong and each.attempt.verb in verbs:
            yield Finding(
                f"{who_asked(each.attempt)} was told that booking {story.booking} is {each.status} with "
                f"{each.returned} returned, after {who_asked(latest.attempt)} had been told that it is "
                f"{latest.status} with {latest.returned} returned.",
                (latest.attempt, each.attempt),
                (story.booking,),
            )


def _progress(shown: Shown) -> tuple[int, int]:
    return RANK[shown.status], shown.returned


def stranger(case: Case) -> Iterator[Finding]:
    """Nobody is shown a booking of somebody else, nor can cancel it, nor meets it by the same key.

    Whoever has made one that was handed over is a stranger to it from then on.
    """
    for story in case.stories.values():
        given_away = case.handed_over(story.booking)[1]
        for shown in story.shown if story.row is not None else []:
            is_own = case.is_own(shown.attempt, story.booking)
            # A form that is sent again leads to the booking's page, which opens it no more.
            is_own = is_own and (shown.attempt.began < given_away or not shown.status)
            if is_customers(shown.attempt) and not is_own:
                assert story.row is not None
                yield Finding(
                    f"{who_asked(shown.attempt)} was shown booking {story.booking} of {story.row.user}.",
                    (shown.attempt,),
                    (story.booking,),
                )


def is_customers(attempt: Attempt) -> bool:
    return attempt.client not in {STAFF, DESK}


def kept_after_call_off(case: Case) -> Iterator[Finding]:
    """When a concert has been called off, nobody keeps a booking of it, and no money stays."""
    done: dict[str, Attempt] = {}
    for attempt in case.history.attempts:
        if attempt.verb == "call_off" and attempt.outcome == OK:
            before = done.setdefault(attempt.request["concert"], attempt)
            if attempt.ended < before.ended:
                done[attempt.request["concert"]] = attempt
    for concert, attempt in done.items():
        if concert in case.facts.concerts and case.facts.concerts[concert].status != "CANCELLED":
            sentence = (
                f"{who_asked(attempt)} has called concert {concert} off, and it is not CANCELLED."
            )
            yield Finding(sentence, (attempt,), (concert,))
    money = owed(case.facts)
    for story in of_called_off(case):
        row, concert = story.row, case.facts.tiers[story.tier].concert
        if row is not None and row.status in HOLDS:
            sentence = (
                f"Concert {concert} was called off, and booking {story.booking} is {row.status}."
            )
            yield Finding(sentence, rows=(story.booking,))
        elif money.get(story.booking):
            kept = money[story.booking]
            sentence = (
                f"Concert {concert} was called off, and booking {story.booking} keeps {kept}."
            )
            yield Finding(sentence, rows=(story.booking,))
        end = done.get(concert)
        for shown in story.shown_as("CONFIRMED") if end else []:
            if end and shown.attempt.began > end.ended:
                yield Finding(
                    f"{who_asked(shown.attempt)} was told that booking {story.booking} is CONFIRMED, after "
                    f"{who_asked(end)} had called its concert off.",
                    (end, shown.attempt),
                    (story.booking,),
                )


def of_called_off(case: Case) -> list[Story]:
    return [
        story
        for tier, row in case.facts.tiers.items()
        if row.concert in case.facts.concerts
        and case.facts.concerts[row.concert].status == "CANCELLED"
        for story in case.by_tier[tier]
    ]


def number_shown(case: Case, verbs: set[str]) -> int:
    return sum(
        shown.attempt.verb in verbs for story in case.stories.values() for shown in story.shown
    )
