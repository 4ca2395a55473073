"""make bench: measure bookings and pages a second, and compare them with an older version, the base.

The web server, PostgreSQL and the load generator share this machine, so only the ratios mean something.
The servers listen on 127.0.0.1 only, and their databases are separate ones in .data/bench.

QUICK=1 measures less and only prints its results. Without it, RESULTS.md and chart.svg are written too.
BASE names a checkout of the base; without it, bench/servers.py clones one.
"""

import os
import shutil
import time
from typing import TYPE_CHECKING

from bench.measure import require_tools
from bench.servers import HERE, Code, base_folder
from bench.site import LARGE, SMALL

if TYPE_CHECKING:
    from bench.results import Results

os.environ |= SMALL.environment
QUICK = bool(os.environ.get("QUICK"))


def main() -> None:
    start = time.monotonic()
    require_tools()
    base_folder()
    shutil.rmtree(SMALL.data_dir, ignore_errors=True)  # its bookings are those of the last run
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    from bench import chart, report, results, scenarios

    size = scenarios.QUICK if QUICK else scenarios.WHOLE
    LARGE.fill(concerts=size.concerts, bookings=size.bookings)
    found = results.Results(size)
    _measure(found)
    found.minutes = (time.monotonic() - start) / 60

    text = report.text(found)
    print("\n" + text)
    if not QUICK:
        (HERE / "RESULTS.md").write_text(text)
        (HERE / "chart.svg").write_text(chart.chart(found.hot))
    if any(found.audits):
        raise SystemExit("The audit found differences between counters and bookings.")


def _measure(found: "Results") -> None:
    from bench import crowds, scenarios
    from bench.cost import cost

    size = found.size
    found.reading = scenarios.reading(size)
    found.audit(LARGE)
    found.hot = scenarios.hot_tier(size)
    found.audit(SMALL)
    found.variants = scenarios.variants(size)
    found.slow_gateway = scenarios.slow_gateway(size)
    found.audit(SMALL)
    found.cost = cost(size)
    with scenarios.warm_servers((Code.NEW, {})) as (new,):
        found.spike = crowds.spike(new, size, found.capacity)
        found.junk = crowds.junk(new, size, found.capacity)
        found.many = crowds.many_connections(new, size)
    found.audit(SMALL)


main()
