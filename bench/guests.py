"""`python -m bench.guests`: bookings of guests by the page's form, compared with those of customers.

A customer is logged in. Each guest is new, with an address that nobody has booked with before. They take
turns, so that a slow moment of the machine affects both.
"""

import os
from statistics import median

from bench.measure import over_http, require_tools
from bench.scenarios import warm_servers
from bench.servers import Code
from bench.site import SMALL

TURNS = 3 if os.environ.get("QUICK") else 7
SECONDS = 3
CLIENTS = 64
LEAST = 0.85  # of what customers reach


def main() -> None:
    require_tools()
    os.environ |= SMALL.environment
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    with warm_servers((Code.NEW, {})) as (site,):
        ratios = []
        for _ in range(TURNS):
            of = {
                kind: over_http(kind, site, clients=CLIENTS, seconds=SECONDS).rate
                for kind in ("form", "guest")
            }
            ratios.append(of["guest"] / of["form"])
    spread = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(f"Guests reach {median(ratios):.2f} of customers ({spread}); the goal is {LEAST}.")
    if problems := SMALL.audit():
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
