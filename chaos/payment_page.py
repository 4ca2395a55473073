"""The second gateway of a chaos run: a payment page whose webhooks come late, twice, never, or out of order.

    python -m chaos.payment_page PORT LEDGER WEBHOOKS SEED

The page is that of the demo (demo/payment_page/), in a process of its own, with a ledger on disk that
outlives it. Customers of a chaos run press its buttons.
"""

import random
import sys
from pathlib import Path

import django

# Of a hundred webhooks, so many meet this; the others are sent at once.
NEVER, TWICE, OUT_OF_ORDER, LATE = 15, 15, 15, 15
LATEST = 12.0  # seconds; after that the hold is over
HELD = 2.0  # seconds at most that a webhook waits for the next one, to come after it


def main() -> None:
    port, ledger, webhooks, seed = sys.argv[1:]
    django.setup()
    from django.core.management import call_command

    from demo.payment_page import server
    from demo.payment_page.ledger import Fate

    draw = random.Random(f"webhooks {seed}")

    def draw_fate() -> Fate:
        return Fate(
            delay=draw.uniform(0.5, LATEST) if draw.uniform(0, 100) < LATE else 0.0,
            lost=draw.uniform(0, 100) < NEVER,
            doubled=draw.uniform(0, 100) < TWICE,
            held=HELD if draw.uniform(0, 100) < OUT_OF_ORDER else 0.0,
        )

    setattr(server, "draw_fate", draw_fate)  # noqa: B010 - mypy knows it as a name of another module
    call_command("payment_page", port=int(port), ledger=Path(ledger), webhooks=webhooks)


if __name__ == "__main__":
    main()
