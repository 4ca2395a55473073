"""`python -m fuzz [REQUESTS [SEED]]`: knocks at every door of a real server with hostile values.

It makes a scratch database and a server of its own, and ends with 1 if an answer is what no answer may be.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ticketbook.tests.running import free_port

REQUESTS, SEED = 6000, 10
AT_ONE_DOOR = 6  # requests in a row, before the log-ins are renewed
# Limits that would keep the fuzzer out belong here, as wide as they go.
ENVIRONMENT = {
    "DATABASE_URL": "", "CACHE_URL": "", "SECRET_KEY": "", "DEBUG": "off", "HTTPS": "off", "CURRENCY": "USD",
    "PAYMENT_SUCCESS_RATE": "1", "PAYMENT_DEFAULT": "", "PAYMENT_GATEWAY": "", "PAYMENT_GATEWAYS": "",
    "WEB_CONCURRENCY": "1", "LOGIN_FAILURES": "0", "LOGIN_FAILURES_PER_ADDRESS": "0",
    "SIGNUPS_PER_ADDRESS": "0", "GUEST_FORMS_PER_ADDRESS": "0", "MAILS_PER_ADDRESS": "0",
    "DJANGO_SETTINGS_MODULE": "ticketbook.settings",
}  # fmt: skip


@contextmanager
def server(log: Path) -> Iterator[int]:
    port = free_port()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "ticketbook.asgi"],
            env=os.environ | {"PORT": str(port)},
            stdout=errors,
            stderr=errors,
        )
        try:
            _wait_until_ready(port)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_until_ready(port: int) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("The server did not become ready.")


class Log:
    """What the server has written since the last look."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, 0

    def tracebacks(self) -> list[str]:
        with self.path.open("rb") as file:
            file.seek(self.seen)
            text = file.read().decode(errors="replace")
            self.seen = file.tell()
        if "Traceback" not in text:
            return []
        return [f"a traceback in the log: {text.strip().splitlines()[-1][:300]}"]


def fuzz(port: int, log: Log, *, wanted: int, seed: int) -> int:
    """Send so many requests; print the faults, each once for its door and kind, and return their number."""
    from fuzz.callers import log_in, nobody, stock_up
    from fuzz.doors import Door, doors, real_values
    from fuzz.judging import faults
    from fuzz.knocking import Request, requests, send, usual_headers

    dice = random.Random(seed)
    customer, staff = log_in("customer", staff=False), log_in("staff", staff=True)
    stock_up()
    openapi = json.loads(send(Request("GET", b"/api/v1/openapi.json"), port).body)
    found, sent, statuses = set(), 0, dict[int, int]()
    all_doors = doors(openapi)
    print(f"{len(all_doors)} doors, seed {seed}", flush=True)
    while sent < wanted:
        dice.shuffle(all_doors)
        for door in all_doors:
            customer, staff = log_in("customer", staff=False), log_in("staff", staff=True)
            stock_up()
            door = Door(door.route, real_values(door.route), door.query, door.fields, door.method)
            in_admin = door.route.startswith("/admin/")
            caller = dice.choice([staff, staff, staff, customer, nobody()] if in_admin
                                 else [customer, customer, staff, nobody()])  # fmt: skip
            usual = Request(door.method, door.path(), usual_headers(door, caller))
            page = "" if door.is_api else send(usual, port).body.decode(errors="replace")
            knocks = requests(door, caller, page, dice)
            for _ in range(min(AT_ONE_DOOR, wanted - sent)):
                request = next(knocks)
                answer = send(request, port)
                sent += 1
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
                for fault in [*faults(door, request, answer), *log.tracebacks()]:
                    if (door.route, fault) not in found:
                        found.add((door.route, fault))
                        print(
                            f"\n{door.method} {door.route} as {caller.name}: {fault} ({request.said})"
                        )
                        print(f"  {request.as_curl(port)[:3000]}", flush=True)
    print(f"{sent} requests, by status: {dict(sorted(statuses.items()))}; faults: {len(found)}")
    return len(found)


def main(wanted: int = REQUESTS, seed: int = SEED) -> int:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.environ.update(ENVIRONMENT, DATA_DIR=f"{folder}/data")
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        log = Path(folder) / "server.log"
        try:
            with server(log) as port:
                return fuzz(port, Log(log), wanted=wanted, seed=seed)
        finally:
            connection.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server too
    sys.exit(bool(main(*(int(argument) for argument in sys.argv[1:]))))
