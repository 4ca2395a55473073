"""make bench: how many bookings and pages a second, and what that is compared with.

Everything runs on this machine, so read the ratios. It listens on 127.0.0.1 only, works on databases of
its own in .data/bench, and ends by itself. QUICK=1 is a short look; the whole writes RESULTS.md and
chart.svg.
"""

import os
import shutil
import time
from pathlib import Path

from bench.site import LARGE, SMALL

os.environ |= SMALL.environment
os.environ["DATABASE_URL"] = ""
QUICK = bool(os.environ.get("QUICK"))


def main() -> None:
    start = time.monotonic()
    shutil.rmtree(SMALL.data_dir, ignore_errors=True)  # the last bench's bookings
    SMALL.fill(concerts=0, bookings=0)
    LARGE.fill(concerts=500 if QUICK else 10_000, bookings=20_000 if QUICK else 1_000_000)

    import django

    django.setup()
    from bench import report, scenarios

    size = scenarios.QUICK if QUICK else scenarios.WHOLE
    results = report.Results(size)
    results.reading = scenarios.reading(size)
    results.audit(LARGE)
    results.hot = scenarios.hot_tier(size)
    results.audit(SMALL)
    results.variants = scenarios.variants(size)
    results.audit(SMALL)
    results.cost = scenarios.cost(size)
    results.spike = scenarios.spike(size, scenarios.rate(results.hot, "book"))
    results.audit(SMALL)
    results.minutes = (time.monotonic() - start) / 60

    text = report.text(results)
    print("\n" + text)
    if not QUICK:
        folder = Path(__file__).parent
        (folder / "RESULTS.md").write_text(text)
        (folder / "chart.svg").write_text(report.chart(results.hot))
    if any(results.audits):
        raise SystemExit("The audit found differences.")


main()
