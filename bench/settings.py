"""TicketBook's own settings, and two endpoints to compare it with."""

from ticketbook.settings import *  # noqa: F403

ROOT_URLCONF = "bench.urls"
