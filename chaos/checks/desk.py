"""What staff do by the pages of the back office is done once, as it was told, and customers hear of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from chaos.case import BEHIND, Case, Finding, who_asked
from chaos.checks.reads import AGE, TOLERANCE
from chaos.facts import CapacityChange
from chaos.history import DESK, OK, REFUSED, Attempt
from chaos.stories import BOOKS, Story

# Verbs whose reason stands in the history of the row. A booking is known by its own key (`key_story`).
NOTED = {"add_tickets", "keep_more_back", "put_on_sale", "move", "hand_over"}


ROWS = ("tier", "concert", "booking")


def presses(case: Case) -> dict[str, list[Attempt]]:
    """By the key of a form: all times that it was sent, of verbs that write the key down."""
    return {key: sent for key, sent in case.presses.items() if sent[0].verb in NOTED}


def pressed_once(case: Case) -> Iterator[Finding]:
    """A form does its work once if that was told, never if it was refused, and never more than it says."""
    done = Counter(press.key for press in case.facts.presses)
    changes = {change.press: change for change in case.facts.capacity if change.press}
    for key, sent in presses(case).items():
        told = [attempt for attempt in sent if attempt.outcome == OK]
        refused = all(attempt.outcome == REFUSED for attempt in sent)
        row = next(str(sent[0].request[name]) for name in ROWS if name in sent[0].request)
        times = done[key]
        if times > 1 or len(told) > 1:
            said = f"was done {times} times, and told {len(told)} times"
        elif told and not times:
            said = "was told to be done, and no history has it"
        elif refused and times:
            said = "was refused, and is done"
        else:
            said = _wrongly(sent[0], changes.get(key)) if times else ""
        if said:
            whom = who_asked(sent[0])
            sentence = f"{sent[0].verb} of {row} by {whom} {said}."
            yield Finding(sentence, tuple(sent), (row,))
    yield from _by_stale_page(case)


def _wrongly(attempt: Attempt, made: CapacityChange | None) -> str:
    if attempt.verb in {"move", "hand_over"}:
        return ""
    tickets = attempt.request["tickets"]
    wanted = -tickets if attempt.verb == "put_on_sale" else tickets
    name = "total" if attempt.verb == "add_tickets" else "kept_back"
    if made is None or made.field != name or made.new - made.old != wanted:
        return f"changed {name} not by {wanted}: {made}"
    return ""


def _by_stale_page(case: Case) -> Iterator[Finding]:
    """Nobody moves a concert by a page that was drawn before the last move."""
    moved = [each for each in case.history.attempts if each.verb == "move" and each.outcome == OK]
    for attempt in moved:
        for before in moved:
            same = before.request["concert"] == attempt.request["concert"]
            drawn: float = attempt.request["drawn"]
            if same and drawn < before.began and before.ended < attempt.began:
                yield Finding(
                    f"{who_asked(attempt)} moved concert {attempt.request['concert']} by a page from second "
                    f"{drawn:.3f}, and {who_asked(before)} had moved it since.",
                    (before, attempt),
                    (attempt.request["concert"],),
                )


# --- Bookings that are handed over ------------------------------------------------------------------------


def handed_over(case: Case) -> Iterator[Finding]:
    """A booking goes to the address that was typed, and the old one is told of it once."""
    told = Counter(
        (mail.about, mail.address)
        for mail in case.facts.mails
        if mail.key.startswith("handed_over:")
    )
    sent: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in handings(case):
        sent[attempt.request["booking"]].append(attempt)
    for pk, row in case.facts.bookings.items():
        asked = [each for each in sent[pk] if each.outcome != REFUSED]
        told_so = [each for each in asked if each.outcome == OK]
        if row.handed_to and row.handed_to not in {each.request["email"] for each in asked}:
            sentence = f"Booking {pk} went to {row.handed_to}, and nobody asked for that."
            yield Finding(sentence, tuple(sent[pk]), (pk,))
        if told_so and not row.handed_to:
            sentence = f"{who_asked(told_so[0])} was told that booking {pk} was handed over, and it was not."
            yield Finding(sentence, tuple(told_so), (pk,))
        number = told[pk, row.user]
        if "mail" in case.facts.apps and number != bool(row.handed_to):
            state = "was handed over" if row.handed_to else "was never handed over"
            sentence = (
                f"{row.user} was told {number} times that booking {pk} is another's; it {state}."
            )
            yield Finding(sentence, tuple(sent[pk]), (pk,))


def handings(case: Case) -> list[Attempt]:
    return [each for each in case.history.attempts if each.verb == "hand_over"]


# --- Concerts that are published and hidden ---------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A time in which a concert was certainly hidden, or certainly published."""

    hidden: bool
    begin: float
    end: float

    def has(self, begin: float, end: float) -> bool:
        return self.begin < begin and end < self.end


def spans_of(case: Case, concert: str) -> list[Span]:
    """What is certain about a concert that was a draft at first. A press without an answer ends what is."""
    spans, hidden, begin = [], True, -inf
    for sent in case.presses.values():
        verb, refused = sent[0].verb, all(each.outcome == REFUSED for each in sent)
        if verb not in {"publish", "unpublish"} or sent[0].request["concert"] != concert or refused:
            continue
        spans.append(Span(hidden, begin, min(each.began for each in sent)))
        told = [each.ended for each in sent if each.outcome == OK]
        if not told:
            return spans
        hidden, begin = verb == "unpublish", min(told)
    return [*spans, Span(hidden, begin, inf)]


def shown_or_hidden(case: Case) -> list[Attempt]:
    verbs = {"publish", "unpublish"}
    return [
        each for each in case.history.attempts if each.verb in verbs and "press" in each.request
    ]


def hidden(case: Case) -> Iterator[Finding]:
    """Nobody sees, or buys tickets of, a concert that is hidden; nobody hides one that is sold or held."""
    for concert in dict.fromkeys(each.request["concert"] for each in shown_or_hidden(case)):
        spans = spans_of(case, concert)
        stories = [
            story
            for tier, stories in case.by_tier.items()
            for story in stories
            if case.facts.tiers[tier].concert == concert and story.row is not None
        ]
        yield from _hidden_although_booked(case, concert, stories)
        for span in spans:
            yield from _booked_while_hidden(concert, span, stories)
            yield from _shown_wrongly(case, concert, span)


def _hidden_although_booked(case: Case, concert: str, stories: list[Story]) -> Iterator[Finding]:
    booked = tuple(story.booking for story in stories if story.row)
    if booked and case.facts.concerts[concert].status == "DRAFT":
        yield Finding(f"Concert {concert} is a draft, and was booked: {booked[0]}.", rows=booked)
    for attempt in shown_or_hidden(case):
        of_this = attempt.request["concert"] == concert and attempt.verb == "unpublish"
        before = [story for story in stories if story.latest < attempt.began]
        if of_this and attempt.outcome == OK and before:
            yield Finding(
                f"{who_asked(attempt)} has hidden concert {concert}, and there was booking "
                f"{before[0].booking}.",
                (attempt,),
                (concert, before[0].booking),
            )


def _booked_while_hidden(concert: str, span: Span, stories: list[Story]) -> Iterator[Finding]:
    for story in stories:
        if span.hidden and story.asked and span.has(story.earliest, story.latest):
            yield Finding(
                f"Booking {story.booking} was made between second {story.earliest:.3f} and "
                f"{story.latest:.3f}, and concert {concert} was hidden from second {span.begin:.3f} to "
                f"{span.end:.3f}.",
                tuple(story.asked),
                (concert, story.booking),
            )


def _shown_wrongly(case: Case, concert: str, span: Span) -> Iterator[Finding]:
    for attempt in case.history.attempts:
        if attempt.client == DESK or not _is_about(case, attempt, concert):
            continue
        is_read = attempt.verb not in BOOKS
        begin = attempt.began - (AGE + TOLERANCE if is_read else BEHIND)
        is_shown = attempt.outcome == OK if is_read else False
        is_gone = attempt.outcome == REFUSED and attempt.code in {"not_found", ""}
        if span.has(begin, attempt.ended) and (is_shown if span.hidden else is_gone):
            how = "was shown" if is_shown else "did not find"
            state = "hidden" if span.hidden else "published"
            yield Finding(
                f"{who_asked(attempt)} {how} concert {concert} by {attempt.verb}, and it was {state} from "
                f"second {span.begin:.3f} to {span.end:.3f}.",
                (attempt,),
                (concert,),
            )


def _is_about(case: Case, attempt: Attempt, concert: str) -> bool:
    if attempt.verb in BOOKS:
        tier = case.facts.tiers.get(attempt.request["tier"])
        return tier is not None and tier.concert == concert
    reads = {"availability", "concert", "page"}
    return attempt.verb in reads and attempt.request.get("concert") == concert


# --- Concerts that move -----------------------------------------------------------------------------------


def moves(case: Case) -> list[Attempt]:
    return [each for each in case.history.attempts if each.verb == "move" and each.outcome == OK]


def told_of_moves(case: Case) -> Iterator[Finding]:
    """Each holder gets one mail for each move, and those who had tickets all the time get each of them."""
    numbers = Counter(move.concert for move in case.facts.moves)
    noted = Counter(press.about for press in case.facts.presses)
    for concert, number in numbers.items():
        if noted[concert] != number:
            yield Finding(
                f"Concert {concert} has {number} moves, and its history {noted[concert]}.",
                rows=(concert,),
            )
    if "mail" not in case.facts.apps:
        return
    told = _told_of(case)
    yield from _told_too_often(case, told, numbers)
    certain: Counter[tuple[str, str]] = Counter()
    for attempt in moves(case):
        concert = attempt.request["concert"]
        certain.update((who, concert) for who in _holders(case, attempt))
    for (who, concert), times in certain.items():
        if len(told[who, concert]) < times:
            yield Finding(
                f"{who} had tickets of concert {concert} when it moved {times} times, and was told "
                f"{len(told[who, concert])} times.",
                rows=(concert,),
            )


Told = dict[tuple[str, str], Counter[str]]  # by person and concert: mails about each move


def _told_of(case: Case) -> Told:
    told: Told = defaultdict(Counter)
    for mail in case.facts.mails:
        if mail.key.startswith("moved:"):
            _, booking, change = mail.key.split(":")
            if row := case.facts.bookings.get(booking):
                told[mail.address, case.facts.tiers[row.tier].concert][change] += 1
    return told


def _told_too_often(case: Case, told: Told, numbers: Counter[str]) -> Iterator[Finding]:
    # A guest and the account with the same address have each a mail, because their links differ.
    owners: dict[str, set[str]] = defaultdict(set)
    for row in case.facts.bookings.values():
        owners[row.user] |= {row.maker, row.user} if row.kept else {row.maker}
    for (who, concert), of_moves in told.items():
        too_often = max(of_moves.values()) > max(1, len(owners[who]))
        if too_often or len(of_moves) > numbers[concert]:
            yield Finding(
                f"{who} was told {of_moves.total()} times that concert {concert} has moved, which it did "
                f"{numbers[concert]} times.",
                rows=(concert,),
            )


def _holders(case: Case, move: Attempt) -> set[str]:
    """Who certainly had tickets of the concert during all of the move."""
    found = set()
    for tier, stories in case.by_tier.items():
        if case.facts.tiers[tier].concert != move.request["concert"]:
            continue
        for story in stories:
            given_away = case.handed_over(story.booking)[0]
            if story.row is not None and given_away > move.ended and _is_held(story, move):
                found.add(story.row.user)
    return found


def _is_held(story: Story, move: Attempt) -> bool:
    paid = min((each.attempt.ended for each in story.shown_as("CONFIRMED")), default=inf)
    returned = sum(back.tickets for back in story.gave_back if back.earliest <= move.ended)
    return paid < move.began and returned < story.quantity
