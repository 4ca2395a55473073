"""Whoever has a booking has its tickets, one set of them, and was told by mail.

A site without the apps `tickets` and `mail` has neither (chaos/gathering.py), and nothing is looked at.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.case import Case, Finding
from chaos.facts import Ticket


def tickets(case: Case) -> Iterator[Finding]:
    """A booking has as many valid tickets as it holds, out of one set, and they have codes of their own."""
    if "tickets" not in case.facts.apps:
        return
    by_booking: dict[str, list[Ticket]] = defaultdict(list)
    for ticket in case.facts.tickets:
        by_booking[ticket.booking].append(ticket)
    for pk, row in case.facts.bookings.items():
        theirs = by_booking[pk]
        valid = sum(ticket.valid for ticket in theirs)
        held = row.quantity - row.returned if row.status == "CONFIRMED" else 0
        if valid != held:
            yield Finding(
                f"Booking {pk} is {row.status} and holds {held} tickets, and {valid} are valid.",
                rows=(pk,),
            )
        numbers = sorted(ticket.number for ticket in theirs)
        if numbers and numbers != list(range(1, row.quantity + 1)):
            yield Finding(
                f"Booking {pk} of {row.quantity} tickets has those with the numbers {numbers}.",
                rows=(pk,),
            )
    for code, number in Counter(ticket.code for ticket in case.facts.tickets).items():
        if number > 1:
            yield Finding(f"{number} tickets have the code {code}.")


def mails(case: Case) -> Iterator[Finding]:
    """Each mail was sent, each that was sent arrived, and each fulfilled booking has one with its tickets."""
    if "mail" not in case.facts.apps:
        return
    keys = {mail.key for mail in case.facts.mails}
    arrived = set(case.facts.letters)
    for mail in case.facts.mails:
        if mail.status == "FAILED":
            yield Finding(f"The mail {mail.key} could not be sent.", rows=(mail.about,))
        if mail.status == "SENT" and mail.message_id not in arrived:
            yield Finding(f"The mail {mail.key} was sent, and did not arrive.", rows=(mail.about,))
    for message, number in Counter(case.facts.letters).items():
        if number > 1:
            yield Finding(f"The mail {message} arrived {number} times.")
    for letter in arrived - {mail.message_id for mail in case.facts.mails}:
        yield Finding(f"A mail arrived that is none of ours: {letter}.")
    for pk in {ticket.booking for ticket in case.facts.tickets}:
        if f"tickets:{pk}" not in keys:
            yield Finding(f"The tickets of booking {pk} were made, and never mailed.", rows=(pk,))
