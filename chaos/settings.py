"""The settings of a site under chaos: TicketBook's, and mails go into files that keep every copy."""

import os
from pathlib import Path

from ticketbook.settings import *  # noqa: F403

EMAIL_BACKEND = "chaos.letters.Copies"
EMAIL_FILE_PATH = Path(os.environ["CHAOS_MAILS"])
