"""Money was taken and sent back as the rows say, by the gateway's own ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal

from chaos.case import Case, Finding, who_asked
from chaos.facts import Refund, owed
from chaos.history import REFUSED


def charged_twice(case: Case) -> Iterator[Finding]:
    for booking, number in Counter(each.booking for each in case.facts.captures).items():
        if number > 1:
            yield _about(case, booking, f"Booking {booking} was charged {number} times.")


def _about(case: Case, booking: str, sentence: str) -> Finding:
    story = case.stories.get(booking)
    if story is None:
        return Finding(sentence, rows=(booking,))
    whom = ", ".join(map(who_asked, story.asked[:4])) or "nobody"
    return Finding(f"{sentence} Asked for by {whom}.", tuple(story.asked), (booking,))


def money_kept(case: Case) -> Iterator[Finding]:
    """Money stays only for a confirmed booking: its price without what was refunded."""
    for pk, kept in owed(case.facts).items():
        booking = case.facts.bookings.get(pk)
        if booking is None:
            if kept:
                yield _about(
                    case, pk, f"The gateway keeps {kept} under the key {pk}, which is no booking."
                )
            continue
        right = Decimal(0)
        if booking.status == "CONFIRMED":
            right = Decimal(booking.total) - Decimal(booking.refunded)
        if kept != right:
            yield _about(
                case,
                pk,
                f"Booking {pk} is {booking.status} with payment status {booking.payment_status}, "
                f"price {booking.total}, refunded {booking.refunded}: the gateway keeps {kept}, "
                f"not {right}.",
            )
    paid = {capture.booking for capture in case.facts.captures}
    for pk, booking in case.facts.bookings.items():
        at_gateway = booking.source == "ONLINE" and Decimal(booking.total) > 0
        if booking.status in {"CONFIRMED", "CANCELLED"} and at_gateway and pk not in paid:
            sentence = f"Booking {pk} is {booking.status}, and nobody has paid for it."
            yield _about(case, pk, sentence)


def refunded_twice(case: Case) -> Iterator[Finding]:
    """Each refund is sent once, for what is owed; no return or cancellation owes twice."""
    rows = {refund.id: refund for refund in case.facts.refunds}
    for key, number in Counter(sent.refund for sent in case.facts.sent_back).items():
        if number > 1:
            yield Finding(f"Refund {key} was sent {number} times.", rows=(key,))
    for sent in case.facts.sent_back:
        refund = rows.get(sent.refund)
        if refund is None:
            sentence = f"{sent.amount} of booking {sent.booking} was sent back for no refund"
            yield _about(case, sent.booking, f"{sentence} that we know (key {sent.refund}).")
        elif (refund.booking, Decimal(refund.amount)) != (sent.booking, Decimal(sent.amount)):
            yield _about(
                case,
                sent.booking,
                f"Refund {refund.id} is {refund.amount} of booking {refund.booking}, and {sent.amount} "
                f"of booking {sent.booking} was sent.",
            )
    for pk, left in owed(case.facts).items():
        if left < 0:
            yield _about(case, pk, f"Booking {pk} got {-left} more back than it had paid.")
    refunds = defaultdict(list)
    for row in case.facts.refunds:
        refunds[row.booking].append(row)
    for pk, theirs in refunds.items():
        yield from _owed_twice(case, pk, theirs)


ONCE = {"CANCELLED", "CALLED_OFF", "LATE"}  # reasons that a booking can have for one refund only


def _owed_twice(case: Case, pk: str, refunds: list[Refund]) -> Iterator[Finding]:
    booking = case.facts.bookings.get(pk)
    if booking is None:
        return
    names = tuple(refund.id for refund in refunds)
    total = sum((Decimal(refund.amount) for refund in refunds), Decimal(0))
    tickets = sum(refund.tickets for refund in refunds)
    for reason, number in Counter(refund.reason for refund in refunds).items():
        if reason in ONCE and number > 1:
            sentence = f"Booking {pk} has {number} refunds for {reason}: {', '.join(names)}."
            yield _about(case, pk, sentence)
    if total > Decimal(booking.total) or tickets > booking.returned:
        yield _about(
            case,
            pk,
            f"The refunds of booking {pk} are {total} for {tickets} tickets; it cost {booking.total}, and "
            f"{booking.returned} were returned.",
        )
    asked = Counter(
        Decimal(attempt.request["amount"])
        for attempt in case.history.attempts
        if attempt.verb == "refund"
        and attempt.outcome != REFUSED
        and attempt.request["booking"] == pk
    )
    goodwill = Counter(Decimal(each.amount) for each in refunds if each.reason == "GOODWILL")
    for amount, number in (goodwill - asked).items():
        yield _about(case, pk, f"Booking {pk} got goodwill of {amount} {number} times too often.")


def wrong_refund(case: Case) -> Iterator[Finding]:
    """A returned ticket brings its price back, unless some was given back before; all tickets bring all."""
    refunds = defaultdict(list)
    for refund in case.facts.refunds:
        refunds[refund.booking].append(refund)
    for pk, booking in case.facts.bookings.items():
        total, price = Decimal(booking.total), Decimal(booking.total) / booking.quantity
        reasons = {refund.reason for refund in refunds[pk]}
        for refund in refunds[pk]:
            amount, right = Decimal(refund.amount), price * refund.tickets
            exact = amount == right or (amount < right and "GOODWILL" in reasons)
            if refund.reason == "PART" and not exact:
                yield _about(
                    case,
                    pk,
                    f"{refund.tickets} tickets of booking {pk} were returned, at {price} each, and {amount} "
                    f"is sent back.",
                )
        if booking.status == "CANCELLED" and Decimal(booking.refunded) != total:
            yield _about(
                case, pk, f"Booking {pk} is CANCELLED, and {booking.refunded} of {total} goes back."
            )
