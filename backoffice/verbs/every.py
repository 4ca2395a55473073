"""All verbs of the back office, in the order of their buttons."""

from typing import Any

from backoffice.verbs import messages, stock
from backoffice.verbs.verb import Verb

EVERY: list[Verb[Any]] = [
    stock.AddTickets(),
    messages.MessageToConcert(),
    messages.MessageToTier(),
]
