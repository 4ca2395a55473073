"""python -m bench.fulfilment: what tickets and their mails cost a sale.

64 connections book one tier, SECONDS at a time: in turn while a worker fulfils bookings and mails tickets
(into files), and without one. Bookings of the runs without a worker wait, so the worker is never out of work.
Each of PAIRS (6) pairs has a ratio, and the median of the ratios has to be 0.95 or more; otherwise this exits
with 1. It takes three minutes.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import psutil

from bench.measure import over_http, require_tools, warm_up
from bench.servers import HERE, Code, Server, servers
from bench.site import SMALL

PAIRS = int(os.environ.get("PAIRS") or 6)
SECONDS = int(os.environ.get("SECONDS") or 8)
CLIENTS = 64
TARGET = 0.95
LIMIT = 60  # seconds until a worker is at work


def main() -> None:
    require_tools()
    os.environ.update(SMALL.environment | {"EMAIL_URL": ""})
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    with servers((Code.NEW, {})) as (site,):
        warm_up(site)
        # The order alternates, so that a machine that becomes slower or faster favours neither.
        ratios = [pair(site, worker_first=bool(number % 2)) for number in range(PAIRS)]
    shutil.rmtree(SMALL.data_dir / "mail", ignore_errors=True)
    print("ratios: " + " ".join(f"{ratio:.3f}" for ratio in sorted(ratios)))
    print(f"with a worker ÷ without one: {median(ratios):.3f}")
    if problems := SMALL.audit():
        raise SystemExit("\n".join(problems))
    if median(ratios) < TARGET:
        raise SystemExit(f"It should be {TARGET} or more.")


def pair(site: Server, *, worker_first: bool) -> float:
    rates = {}
    for with_worker in (worker_first, not worker_first):
        rates[with_worker] = sell_beside_worker(site) if with_worker else sell(site, "no worker")
    return rates[True] / rates[False]


def sell(site: Server, name: str) -> float:
    return over_http("book", site, name=name, clients=CLIENTS, seconds=SECONDS).rate


def sell_beside_worker(site: Server) -> float:
    with worker() as process:
        wait_until_at_work()
        before = so_far(process)
        rate = sell(site, "beside a worker")
        done = [now - then for now, then in zip(so_far(process), before, strict=True)]
    fulfilled, sent, used = done
    print(
        f"  meanwhile {fulfilled:,.0f} bookings were fulfilled, and {sent:,.0f} mails sent; the worker used "
        f"{used / SECONDS:.2f} cores",
        flush=True,
    )
    return rate


def so_far(process: psutil.Process) -> tuple[float, float, float]:
    """Bookings that are fulfilled, mails that are sent, seconds of processor time of the worker."""
    from bookings.models import Booking
    from mail.models import Mail

    times = process.cpu_times()
    fulfilled = Booking.objects.exclude(fulfilled_at=None).count()
    sent = Mail.objects.filter(status=Mail.Status.SENT).count()
    return fulfilled, sent, times.user + times.system


def wait_until_at_work() -> None:
    """Until another mail is sent, because until then the worker starts."""
    from mail.models import Mail

    sent = Mail.objects.filter(status=Mail.Status.SENT)
    before, deadline = sent.count(), time.monotonic() + LIMIT
    while sent.count() == before:
        if time.monotonic() > deadline:
            raise SystemExit(f"The worker sent no mail within {LIMIT} seconds.")
        time.sleep(0.2)


@contextmanager
def worker() -> Iterator[psutil.Process]:
    command = [sys.executable, "manage.py", "procrastinate", "worker"]
    with subprocess.Popen(
        command, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    main()
