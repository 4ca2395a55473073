"""make soak-mail: a thousand cancellations, a mail server that misbehaves, and a worker that is killed.

EVENTS bookings (1,000) are made and cancelled one after the other. Meanwhile the mail server refuses one mail
in twenty for now, drops the connection after one in thirty, hangs at one in two hundred, and is away twice.
KILLS times (20) the worker is killed with -9. In the end every event must have been delivered, none of them
under two Message-IDs, and every mail must be noted as sent. Otherwise it says what is wrong and exits with 1.
It takes about ten minutes, because the claims of a dead worker run out after four.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from bench.servers import HERE
from bench.site import Site, new_tier
from mail.tests.smtp import MailServer

if TYPE_CHECKING:
    from accounts.models import User

SITE = Site("mails")
EVENTS = int(os.environ.get("EVENTS", 1000))
KILLS = int(os.environ.get("KILLS", 20))
SECONDS_FOR_A_KILL = 6
LIMIT = 15 * 60  # seconds after the last event
HANGS = 25  # seconds; longer than EMAIL_TIMEOUT
CUSTOMERS = 50


class BadServer(MailServer):
    def __init__(self) -> None:
        super().__init__()
        self.did: Counter[str] = Counter()
        self.data = self._answer

    def _answer(self, message: Any) -> str | None:
        chance = random.random()
        self.hangs = 0
        if chance < 0.05:
            self.did["refused for now"] += 1
            return "451 Try again later"
        if chance < 0.08:
            self.did["dropped after DATA"] += 1
            self.drops_after_data = 1
        elif chance < 0.085:
            self.did["hung at the next one"] += 1
            self.hangs = HANGS
        return None

    def go_away(self, seconds: float) -> None:
        self.did["was away"] += 1
        self.stop()
        time.sleep(seconds)
        self.start()


class Worker:
    def __init__(self, url: str) -> None:
        self.settings = SITE.environment | {"EMAIL_URL": url}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "manage.py", "procrastinate", "worker"]
        self.process = subprocess.Popen(command, cwd=HERE.parent, env=self.settings)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    shutil.rmtree(SITE.data_dir, ignore_errors=True)
    os.environ.update(SITE.environment | {"PAYMENT_SUCCESS_RATE": "1"})
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    with BadServer() as server:
        worker = Worker(server.url)
        try:
            telling = threading.Thread(target=_tell)
            telling.start()
            _kill(worker, server)
            telling.join()
            seconds = _wait()
        finally:
            worker.kill()
        _end(server, seconds)


def _tell() -> None:
    """Make the events, evenly over the time of the kills."""
    from django.db import connection

    from bookings.cancelling import cancel
    from bookings.placing import place
    from bookings.wishes import Wish
    from ticketbook.postgres import clock

    tier, customers = new_tier(), _customers()
    began, length = time.monotonic(), KILLS * SECONDS_FOR_A_KILL
    for number in range(EVENTS):
        time.sleep(max(0, began + length * number / EVENTS - time.monotonic()))
        user, now = customers[number % CUSTOMERS], clock.ask()
        wish = Wish(
            user=user,
            ticket_tier_id=tier,
            quantity=1,
            idempotency_key=uuid.uuid4(),
            arrived_at=now,
        )
        cancel(place(wish).booking, now=clock.ask())
    connection.close()


def _customers() -> "list[User]":
    from accounts.models import User

    return [
        User.objects.create(email=f"soak{number}@example.com", name=f"Soak {number}", password="!")
        for number in range(CUSTOMERS)
    ]


def _kill(worker: Worker, server: BadServer) -> None:
    for number in range(1, KILLS + 1):
        time.sleep(SECONDS_FOR_A_KILL)
        worker.kill()
        if number in {KILLS // 3, 2 * KILLS // 3}:
            server.go_away(SECONDS_FOR_A_KILL)
        worker.start()


def _wait() -> float:
    from mail.models import Mail

    began = time.monotonic()
    while time.monotonic() < began + LIMIT and Mail.objects.waiting().exists():
        time.sleep(1)
    return time.monotonic() - began


def _end(server: BadServer, seconds: float) -> None:
    from mail.models import Mail

    ids_of_events = defaultdict(set)
    for message in server.accepted:
        text = message.get_body(["plain"]).get_content()  # type: ignore[union-attr]
        [booking] = re.findall(r"^Booking: (\S+)$", text, re.MULTILINE)
        ids_of_events[booking].add(message["Message-ID"])
    states = Counter(Mail.objects.values_list("status", flat=True))
    print(f"{EVENTS:,} events, {KILLS} kills; the server {dict(server.did)}.")
    print(f"{len(server.accepted):,} mails arrived, the last {seconds:.0f} s after the last event.")
    wrong = {
        "events were not delivered": EVENTS - len(ids_of_events),
        "events came under two Message-IDs": sum(len(i) > 1 for i in ids_of_events.values()),
        "mails are not noted as sent": EVENTS - states["SENT"],
    }
    for what, number in wrong.items():
        if number:
            print(f"WRONG: {number} {what} ({dict(states)}).")
    if not any(wrong.values()):
        print("All is well.")
    sys.exit(1 if any(wrong.values()) else 0)


if __name__ == "__main__":
    main()
