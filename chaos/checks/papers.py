"""Whoever has a booking has its tickets, one set of them, and was told by mail.

A site without the apps `tickets` and `mail` has neither (chaos/gathering.py), and nothing is looked at.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from chaos.case import Case, Finding
from chaos.facts import Ticket
from chaos.history import BUSY_MACHINE, Fault


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
    arrived = {letter.message_id for letter in case.facts.letters}
    for mail in case.facts.mails:
        if mail.status == "FAILED":
            yield Finding(f"The mail {mail.key} could not be sent.", rows=(mail.about,))
        if mail.status == "SENT" and mail.message_id not in arrived:
            yield Finding(f"The mail {mail.key} was sent, and did not arrive.", rows=(mail.about,))
    written = Counter(
        (mail.about, mail.address) for mail in case.facts.mails if mail.key.startswith("message:")
    )
    for (message, address), number in written.items():
        if number > 1:
            yield Finding(f"The message {message} was written to {address} {number} times.")
    for letter in arrived - {mail.message_id for mail in case.facts.mails}:
        yield Finding(f"A mail arrived that is none of ours: {letter}.")
    for pk in {ticket.booking for ticket in case.facts.tickets}:
        if f"tickets:{pk}" not in keys:
            yield Finding(f"The tickets of booking {pk} were made, and never mailed.", rows=(pk,))


# What keeps no worker from writing down that it has sent a mail.
HARMLESS = {
    "kill_web",
    "freeze_web",
    "kill_master",
    "gateway",
    "kill_gateway",
    "clock",
    BUSY_MACHINE,
}
HARMLESS |= {"kill_page", "slow_page", "deaf_page", "kill_cache", "flush_cache", "slow_cache"}
HARMLESS |= {"no_worker", "with_cache", "with_page"}
NOTED = 10.0  # seconds from the arrival, on a busy machine


def told_twice(case: Case) -> Iterator[Finding]:
    """A mail arrives once. A worker that dies, or loses its database, may not write down that it sent one."""
    if "=kill" in case.history.header.failpoints or "mail." in case.history.header.failpoints:
        return
    copies = defaultdict(list)
    for letter in case.facts.letters:
        copies[letter.message_id].append(letter.at)
    for message, times in copies.items():
        for first, second in pairwise(times):
            if not any(_may_hide(fault, first) for fault in case.history.faults):
                yield Finding(
                    f"The mail {message} arrived at second {first:.3f} and again at {second:.3f}, "
                    "and no fault explains it."
                )


def _may_hide(fault: Fault, arrival: float) -> bool:
    if fault.name in HARMLESS:
        return False
    return fault.began - NOTED <= arrival <= fault.ended + NOTED
