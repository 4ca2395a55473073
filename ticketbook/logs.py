"""How a line of the log looks: what clients send makes one short line, and a fault of ours its traceback."""

import logging
import re

from ticketbook.request_ids import current

# Whoever knows the address of a ticket has the ticket, so no log keeps it.
OF_A_TICKET = re.compile(r"(?<=/tickets/)[\w-]{100,}")
LONGEST = 500  # characters of a message; what clients send may be as long as they like


class LineFormatter(logging.Formatter):
    """One line for each record, without control characters, so that nobody can write lines of their own.

    The id of the request follows in brackets, if one is at work.
    A traceback follows below it, indented, unless the answer was a refusal (a status below 500).
    """

    def format(self, record: logging.LogRecord) -> str:
        record.message = plain(record.getMessage())
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        line = self.formatMessage(record)
        if request_id := current.get():
            line += f" [{request_id}]"
        if record.exc_info and getattr(record, "status_code", 500) >= 500:
            line += "\n" + self.formatException(record.exc_info)
        return line.replace("\n", "\n    ")


def plain(text: str) -> str:
    """The text on one line and not too long, with all but printable characters as escapes."""
    text = OF_A_TICKET.sub("…", text)
    cut = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
