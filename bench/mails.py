"""make soak-mail: call a concert off, while the mail server misbehaves and workers are killed.

EVENTS bookings (1,000) are cancelled at once, and each customer is to be told. Meanwhile the mail server
refuses one mail in twenty for now, drops the connection after one in thirty, hangs at one in three
hundred, and is away twice. KILLS times (20) one of three workers is killed with -9, each time after some
more mails were sent. In the end every event must have been delivered, none of them under two Message-IDs,
and every mail must be noted as sent. Otherwise it says what is wrong and exits with 1. It takes about ten
minutes, because the claims of a dead worker run out after four.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from typing import Any

from aiosmtpd.smtp import SMTP

from bench.servers import HERE
from bench.site import Site, new_tier
from mail.tests.smtp import MailServer

SITE = Site("mails")
EVENTS = int(os.environ.get("EVENTS", 1000))
KILLS = int(os.environ.get("KILLS", 20))
LIMIT = 20 * 60  # seconds
HANGS = 25  # seconds; longer than EMAIL_TIMEOUT
AWAY = 5  # seconds
WORKERS = 3  # one sends while another one starts


class BadServer(MailServer):
    def __init__(self) -> None:
        super().__init__()
        self.did: Counter[str] = Counter()

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        chance = random.random()
        if chance < 0.05:
            self.did["refused for now"] += 1
            return "451 Try again later"
        if chance < 0.083:
            self.did["dropped after DATA"] += 1
            self.drops_after_data = 1
        elif chance < 0.0863:
            self.did["hung"] += 1
            await asyncio.sleep(HANGS)
        answer: str = await super().handle_DATA(server, session, envelope)
        return answer

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
    _call_off()
    with BadServer() as server:
        workers = [Worker(server.url) for _ in range(WORKERS)]
        try:
            _kill(workers, server)
            seconds = _wait()
        finally:
            for worker in workers:
                worker.kill()
        _end(server, seconds)


def _call_off() -> None:
    from accounts.models import User
    from bookings.models import Booking
    from concerts.calling_off import call_off
    from concerts.models import TicketTier
    from ticketbook.postgres import clock

    tier, now = TicketTier.objects.get(pk=new_tier(EVENTS)), clock.ask()
    user = User.objects.create(email="soak@example.com", name="Soak", password="!")
    Booking.objects.bulk_create(
        Booking(
            user=user,
            ticket_tier=tier,
            quantity=1,
            unit_price=tier.price,
            total_price=tier.price,
            status=Booking.Status.CONFIRMED,
            payment_status=Booking.PaymentStatus.SUCCESS,
            idempotency_key=uuid.uuid4(),
            hold_expires_at=now,
        )
        for _ in range(EVENTS)
    )
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=0)
    call_off(tier.concert_id, by=None, now=now)


def _kill(workers: list[Worker], server: BadServer) -> None:
    began = time.monotonic()
    for number in range(1, KILLS + 1):
        before = len(server.accepted)
        while len(server.accepted) < before + EVENTS // (2 * KILLS):
            if time.monotonic() > began + LIMIT:
                sys.exit(f"WRONG: no mail was sent for a long time, after {number - 1} kills.")
            time.sleep(0.01)
        worker = workers[number % WORKERS]
        worker.kill()
        if number in {KILLS // 3, 2 * KILLS // 3}:
            server.go_away(AWAY)
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
        [booking] = re.findall(r"^Booking: ([0-9a-f-]{36})\b", text, re.MULTILINE)
        ids_of_events[booking].add(message["Message-ID"])
    states = Counter(Mail.objects.values_list("status", flat=True))
    print(f"{EVENTS:,} events, {KILLS} kills; the server {dict(server.did)}.")
    print(f"{len(server.accepted):,} mails arrived, the last {seconds:.0f} s after the last kill.")
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
