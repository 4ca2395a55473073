"""Why something about tickets was refused. A docstring is the message, a code is part of the API."""

from ticketbook.errors import Refusal


class TicketError(Refusal):
    """This cannot be done with the ticket."""

    code = "ticket_refused"
    status = 409


class NotConfirmed(TicketError):
    """Only a confirmed booking has tickets. This one is not confirmed."""

    code = "not_confirmed"


class TicketVoid(TicketError):
    """This ticket was returned, so it is not valid any more."""

    code = "ticket_void"


class NamesClosed(TicketError):
    """The concert has begun, so the name on a ticket cannot be changed any more."""

    code = "names_closed"
