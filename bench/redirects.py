"""Payments on a page of the gateway's: how many holds a second, and how many settlements by webhook.

    python -m bench.redirects

The site sells by the gateway `hosted`, whose payment page runs as a process of its own on the same machine.
A hold asks the page for an address. A webhook makes the site ask the page what became of the payment. In each
round, customers book for SECONDS; then all of their payments are paid at once, in the page's ledger, and
webhooks come for them; then both happen at the same time.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from bench.measure import over_http, require_tools
from bench.servers import Code, Server, free_port, servers
from bench.site import SMALL

SECONDS = 3 if os.environ.get("QUICK") else 8
ROUNDS = 1 if os.environ.get("QUICK") else 3
CLIENTS = 64


def main() -> None:
    require_tools()
    os.environ |= SMALL.environment
    SMALL.fill(concerts=0, bookings=0)
    import django

    django.setup()
    rounds = []
    with payment_page() as (port, ledger):
        changes = {"PAYMENT_DEFAULT": "hosted", "HOSTED_PORT": str(port)}
        with servers((Code.NEW, changes)) as (site,):
            over_http("hold", site, clients=CLIENTS, seconds=1, name="(to warm up)")
            rounds = [one_round(site, ledger) for _ in range(ROUNDS)]
    for name in rounds[0]:
        print(f"{name:36} {median(each[name] for each in rounds):7.0f}/s")
    if problems := SMALL.audit():
        raise SystemExit("\n".join(problems))


def one_round(site: Server, ledger: Path) -> dict[str, float]:
    holds = over_http("hold", site, clients=CLIENTS, seconds=SECONDS, name="holds")
    events = pay_all(ledger)
    half = len(events) // 2
    alone = settle(site, events[:half], "settlements")
    with ThreadPoolExecutor() as together:
        booking = together.submit(
            over_http,
            "hold",
            site,
            clients=CLIENTS,
            seconds=SECONDS // 2,
            name="holds, both at once",
        )
        settling = together.submit(settle, site, events[half:], "settlements, both at once")
        both, settled = booking.result(), settling.result()
    return {
        "holds": holds.rate,
        "settlements by webhook": alone,
        "holds, both at once": both.rate,
        "settlements, both at once": settled,
    }


def settle(site: Server, events: list[str], name: str) -> float:
    """Send webhooks; returns how many bookings a second they confirmed."""
    before, seconds = confirmed(), max(SECONDS // 2, 1)
    over_http("events", site, clients=CLIENTS, seconds=seconds, name=name, words={"events": events})
    return (confirmed() - before) / seconds


def confirmed() -> int:
    from bookings.models import Booking

    return Booking.objects.filter(gateway="hosted", status=Booking.Status.CONFIRMED).count()


def pay_all(ledger: Path) -> list[str]:
    """Let all open payments be paid, and return their webhooks: body and signature, joined by a tilde."""
    from bookings.gateways import hosted, signatures

    with closing(sqlite3.connect(ledger)) as db, db:
        keys = [key for (key,) in db.execute("SELECT key FROM payment WHERE state = 'open'")]
        db.execute("INSERT INTO capture SELECT key, cents FROM payment WHERE state = 'open'")
        db.execute("UPDATE payment SET state = 'paid' WHERE state = 'open'")
    now, secret = int(time.time()), hosted.webhook_secret()
    bodies = [
        json.dumps(
            {"id": str(uuid.uuid4()), "type": "payment.succeeded", "key": key, "createdAt": now},
            separators=(",", ":"),
        )
        for key in keys
    ]
    return [f"{body}~{signatures.sign(secret, body.encode(), now)}" for body in bodies]


@contextmanager
def payment_page() -> Iterator[tuple[int, Path]]:
    """The payment page, which sends no webhooks by itself."""
    port, ledger = free_port(), SMALL.data_dir / "payment_page.sqlite3"
    for file in SMALL.data_dir.glob("payment_page.sqlite3*"):
        file.unlink()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "payment_page", "--port", str(port), "--ledger", str(ledger)],
        env=SMALL.environment | {"HOSTED_WEBHOOK_LOSS_RATE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
        yield port, ledger
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
