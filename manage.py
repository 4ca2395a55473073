#!/usr/bin/env python
"""TicketBook's command line. `manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ticketbook.settings")
    from ticketbook.startup import run_command

    run_command(sys.argv)


if __name__ == "__main__":
    main()
