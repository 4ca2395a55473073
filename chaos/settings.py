"""The settings of a site under chaos: TicketBook's, and mails go into files that keep every copy."""

from ticketbook.settings import *  # noqa: F403

EMAIL_BACKEND = "chaos.letters.Copies"
