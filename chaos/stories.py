"""What must have happened, and when: of each booking and of each tier, from the history and the facts.

The facts say what has happened in the end, since no row is ever deleted; the history says when it can have
been. A request whose outcome is not known may do its work at any time after it began, so `latest` is `inf`
until an answer shows what it has done. No clock of the site is believed, because faults set them wrong; the
clock of staff, which is this machine's, is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, nextafter
from typing import Any

from chaos.facts import Booking, CapacityChange, Facts, Return
from chaos.history import OK, REFUSED, Attempt, History

BOOKS = {"book", "book_for"}
GIVES_BACK = {"cancel", "return"}
SHOWS = BOOKS | GIVES_BACK | {"look_up", "my_bookings"}
HOLDS = {"PENDING", "CONFIRMED"}
RANK = {"PENDING": 0, "CONFIRMED": 1, "CANCELLED": 2, "FAILED": 2}  # it never becomes less

# Refusals that have stored nothing.
NOTHING_STORED = {
    "insufficient_tickets",
    "customer_limit_reached",
    "sales_closed",
    "changed",
    "not_found",
    "invalid",
    "throttled",
    "not_authenticated",
    "permission_denied",
}
CLOCKS = 0.25  # seconds by which the time of a change by staff may differ from the history's clock


@dataclass(frozen=True)
class Shown:
    """An answer that named a booking. `status` is empty if the answer did not say it."""

    attempt: Attempt
    status: str
    returned: int = 0
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GiveBack:
    """Tickets of a booking that went back to stock at some time in between."""

    tickets: int
    earliest: float
    latest: float
    requests: tuple[Attempt, ...] = ()  # that may have done it


@dataclass
class Story:
    """One booking: who asked for it, who was shown it, and when its tickets were out of stock."""

    booking: str
    row: Booking | None  # None: it was shown, and does not exist
    tier: str
    quantity: int
    asked: list[Attempt] = field(default_factory=list)  # for its key
    shown: list[Shown] = field(default_factory=list)
    gave_back: list[GiveBack] = field(default_factory=list)
    earliest: float = 0.0  # when its tickets can have been taken
    latest: float = inf
    out_of_kept: bool = False  # its tickets were kept back, so they were not in stock before

    def shown_as(self, *statuses: str) -> list[Shown]:
        return [each for each in self.shown if each.status in statuses]

    def certain(self) -> Iterator[tuple[float, int]]:
        """When the tickets that are certainly sold or held become more or less, and by how many."""
        yield nextafter(self.latest, inf), self.quantity
        for back in self.gave_back:
            yield max(nextafter(self.latest, inf), back.earliest), -back.tickets

    def possible(self) -> Iterator[tuple[float, int]]:
        """The same of those that may be sold or held."""
        yield self.earliest, self.quantity
        for back in self.gave_back:
            yield nextafter(back.latest, inf), -back.tickets


class Steps:
    """A number that changes at some moments: the sum of the changes up to and including a moment."""

    def __init__(self, changes: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(change for change in changes if change[0] < inf)
        self.times = [time for time, _ in ordered]
        self.sums = [0, *accumulate(number for _, number in ordered)]

    def at(self, time: float) -> int:
        return self.sums[bisect_right(self.times, time)]


@dataclass(frozen=True)
class Change:
    """A change by staff of a tier's capacity, or of what is kept back."""

    made: CapacityChange
    earliest: float
    latest: float
    attempt: Attempt | None = None


class Values:
    """What a number can have been that staff have set again and again, in a known order."""

    def __init__(self, first: int, changes: list[Change]) -> None:
        self.values = [first, *(change.made.new for change in changes)]
        # A change is not later than the one after it.
        backwards = accumulate((change.latest for change in reversed(changes)), min)
        self.latest = [-inf, *reversed(list(backwards))]
        self.earliest = [-inf, *accumulate((change.earliest for change in changes), max)]

    def between(self, begin: float, end: float) -> list[int]:
        """All that it can have been at some moment of this time."""
        first = max(at for at, latest in enumerate(self.latest) if latest < begin)
        last = max(at for at, earliest in enumerate(self.earliest) if earliest <= end)
        return self.values[first : max(first, last) + 1]


# Requests to book, by customer and key.
Asked = dict[tuple[str, str], list[Attempt]]


# --- Bookings ---------------------------------------------------------------------------------------------


def stories_of(history: History, facts: Facts) -> dict[str, Story]:
    """The story of every booking that there is, or that was shown to somebody."""
    by_key: Asked = {}
    for attempt in history.attempts:
        if attempt.verb in BOOKS:
            key = history.customer_of(attempt), attempt.request["key"]
            by_key.setdefault(key, []).append(attempt)
    stories = {}
    for pk, row in facts.bookings.items():
        asked = by_key.get((row.maker if history.header.customers else "", row.key), [])
        stories[pk] = Story(pk, row, row.tier, row.quantity, asked)
    for shown, pk in _all_shown(history):
        if pk in facts.stand_ins:
            continue
        if pk not in stories:
            customer = history.customer_of(shown.attempt)
            stories[pk] = _story_without_row(pk, shown, by_key, customer)
        stories[pk].shown.append(shown)
    returns: dict[str, list[Return]] = {}
    for made in facts.returns:
        returns.setdefault(made.booking, []).append(made)
    requests = _requests_about(history)
    called_off: dict[str, list[Attempt]] = {}
    for attempt in history.attempts:
        if attempt.verb == "call_off" and attempt.outcome != REFUSED:
            called_off.setdefault(attempt.request["concert"], []).append(attempt)
    for story in stories.values():
        _date(story)
        tier = facts.tiers.get(story.tier)
        ends = called_off.get(tier.concert, []) if tier else []
        asked = requests.get(story.booking, [])
        story.gave_back = list(_given_back(story, returns.get(story.booking, []), asked, ends))
    return stories


def _all_shown(history: History) -> Iterator[tuple[Shown, str]]:
    for attempt in history.attempts:
        if attempt.verb not in SHOWS:
            continue
        answer = attempt.answer
        bodies = answer if isinstance(answer, list) else [answer]
        for body in bodies:
            if not isinstance(body, dict):
                continue
            if isinstance(body.get("booking"), dict):  # in a refusal
                body = body["booking"]
            if "bookingId" in body:
                status = "PENDING" if attempt.code == "request_in_progress" else ""
                yield Shown(attempt, status), str(body["bookingId"])
            elif "id" in body and body.get("status") in RANK:
                yield (
                    Shown(attempt, body["status"], body.get("returnedQuantity", 0), body),
                    body["id"],
                )


def _story_without_row(pk: str, shown: Shown, by_key: Asked, customer: str) -> Story:
    key = shown.body.get("idempotencyKey") or shown.attempt.request.get("key", "")
    request = shown.attempt.request
    tier = shown.body.get("ticketTierId") or request.get("tier", "")
    quantity = shown.body.get("quantity") or request.get("quantity", 0)
    return Story(pk, None, tier, quantity, by_key.get((customer, key), []))


def _requests_about(history: History) -> dict[str, list[Attempt]]:
    # Those that may have given tickets of a booking back.
    requests: dict[str, list[Attempt]] = {}
    for attempt in history.attempts:
        if attempt.verb in GIVES_BACK and attempt.outcome != REFUSED:
            requests.setdefault(attempt.request["booking"], []).append(attempt)
    return requests


def _date(story: Story) -> None:
    makers = [
        attempt
        for attempt in story.asked
        if attempt.request["quantity"] == story.quantity
        and not (attempt.outcome == REFUSED and attempt.code in NOTHING_STORED)
    ]
    story.earliest = min((attempt.began for attempt in makers), default=0.0)
    story.latest = min((each.attempt.ended for each in story.shown), default=inf)
    story.out_of_kept = any(attempt.request.get("from_kept_back") for attempt in makers)


def _given_back(
    story: Story, returns: list[Return], asked: list[Attempt], ends: list[Attempt]
) -> Iterator[GiveBack]:
    held = [
        each.attempt.began for each in story.shown if each.status in HOLDS and not each.returned
    ]
    earliest = max([story.earliest, *held])
    if story.row is None:
        if asked:
            yield GiveBack(story.quantity, min(each.began for each in asked), inf, tuple(asked))
    elif story.row.status == "FAILED":
        seen = (each.attempt.ended for each in story.shown_as("FAILED"))
        yield GiveBack(story.quantity, earliest, min(seen, default=inf))
    else:
        for made in returns:
            causes = list(causes_of(made, story.row, asked, ends))
            begin = min((attempt.began for attempt in causes), default=0.0)
            latest = _end_of(made, story, causes)
            yield GiveBack(made.tickets, max(earliest, begin), latest, tuple(causes))


def causes_of(
    made: Return, row: Booking, asked: list[Attempt], ends: list[Attempt]
) -> Iterator[Attempt]:
    """The requests that may have made this return: those with its key, or those without one."""
    if not made.key and row.called_off:
        yield from ends
    for attempt in asked:
        if attempt.request.get("key", "") == made.key and (made.key or attempt.verb == "cancel"):
            yield attempt


def _end_of(made: Return, story: Story, causes: list[Attempt]) -> float:
    # The first answer that shows it. A call-off may come before the payment of a hold, so its end is none.
    assert story.row is not None
    seen = [
        each.attempt.ended
        for each in story.shown
        if each.status == "CANCELLED" or each.returned == story.row.returned
    ]
    told = [each.ended for each in causes if each.outcome == OK and each.verb != "call_off"]
    return min(seen + told, default=inf)


# --- Staff ------------------------------------------------------------------------------------------------

VERB_OF = {"total": ("capacity", "total"), "kept_back": ("keep_back", "tickets")}


def changes_of(history: History, facts: Facts) -> dict[str, list[Change]]:
    """By tier: its changes by staff, in order."""
    asked: dict[tuple[str, str, int], list[Attempt]] = {}
    for attempt in history.attempts:
        for verb, argument in VERB_OF.values():
            if attempt.verb == verb and attempt.outcome != REFUSED:
                what = attempt.request["tier"], verb, attempt.request[argument]
                asked.setdefault(what, []).append(attempt)
    presses = presses_of(history)
    changes: dict[str, list[Change]] = {}
    for made in facts.capacity:
        if made.press:
            changes.setdefault(made.tier, []).append(_dated_by_press(made, presses))
            continue
        candidates = asked.get((made.tier, VERB_OF[made.field][0], made.new), [])
        changes.setdefault(made.tier, []).append(_dated(made, candidates))
    return changes


def presses_of(history: History) -> dict[str, list[Attempt]]:
    """By the key of a form of the back office: all times that it was sent."""
    found: dict[str, list[Attempt]] = {}
    for attempt in history.attempts:
        if press := attempt.request.get("press"):
            found.setdefault(press, []).append(attempt)
    return found


def _dated_by_press(made: CapacityChange, presses: dict[str, list[Attempt]]) -> Change:
    # By the form's key. The web server's clock, which the row has, may be wrong.
    sent = presses.get(made.press, [])
    told = [attempt for attempt in sent if attempt.outcome == OK]
    earliest = min((attempt.began for attempt in sent), default=0.0)
    latest = min((attempt.ended for attempt in told), default=inf)
    return Change(made, earliest, latest, told[0] if told else next(iter(sent), None))


def _dated(made: CapacityChange, candidates: list[Attempt]) -> Change:
    for attempt in candidates:
        known = attempt.outcome == OK and (attempt.answer or {}).get("old") == made.old
        if known and attempt.began - CLOCKS <= made.at <= attempt.ended + CLOCKS:
            return Change(made, attempt.began, attempt.ended, attempt)
    before = [attempt for attempt in candidates if attempt.began - CLOCKS <= made.at]
    return Change(made, made.at - CLOCKS, inf, before[-1] if before else None)
