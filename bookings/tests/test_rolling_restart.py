"""Web servers are replaced one after the other, and versions run beside each other, while customers book."""

import http.client
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from django.conf import settings as project
from django.db import connection

from accounts.tests.factories import UserFactory
from bench.pgbouncer import url_of
from bookings.audit import audit
from bookings.tests.site import Site, tokens
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.running import environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Proxy:
    """Sends each request to a server whose /readyz was green a moment ago, as a load balancer does."""

    def __init__(self):
        self.sites, self.green, self.stopped = {}, [], threading.Event()
        self.looking = threading.Thread(target=self.look)
        self.looking.start()

    def look(self):
        while not self.stopped.wait(0.05):
            self.green = [site for site in list(self.sites.values()) if is_ready(site)]

    def add(self, name, site):
        self.sites[name] = site
        wait_until(lambda: site in self.green, 60)

    def stop(self):
        self.stopped.set()
        self.looking.join()


def is_ready(site):
    try:
        return site.request("GET", "/readyz", timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


class Buyers:
    """They book until `stop`, each request on a connection of its own."""

    def __init__(self, proxy, tier, count=4):
        self.answers, self.failures, self.stopped = Counter(), [], threading.Event()
        self.threads = [
            threading.Thread(target=self.buy, args=[proxy, tier, token])
            for token in tokens(UserFactory.create_batch(count))
        ]
        for thread in self.threads:
            thread.start()

    def buy(self, proxy, tier, token):
        for turn in itertools.count():
            if self.stopped.is_set():
                return
            green = proxy.green
            site = green[turn % len(green)]
            try:
                self.answers[site.book(token, tier)[0]] += 1
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(exc)
            time.sleep(0.01)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)


def test_no_request_fails_while_both_servers_are_replaced(ledger):
    tier, proxy = TicketTierFactory(total_quantity=100_000), Proxy()
    # All are started at once, which takes less time. The proxy does not know the new ones yet.
    started = [Site(WEB_CONCURRENCY="1", STOP_NOTICE_SECONDS="3") for _ in range(4)]
    try:
        for name, site in zip(("one", "two"), started[:2], strict=True):
            proxy.add(name, site.wait_until_ready())
        buyers = Buyers(proxy, tier)
        for name, new in zip(("one", "two"), started[2:], strict=True):
            old = proxy.sites[name]
            old.process.terminate()
            assert old.process.wait(timeout=60) == 0
            proxy.add(name, new.wait_until_ready())
        before = buyers.answers.total()
        wait_until(lambda: buyers.answers.total() > before)
        buyers.stop()
    finally:
        proxy.stop()
        for site in started:
            if site.process.poll() is None:
                site.stop()
    assert buyers.failures == []
    assert set(buyers.answers) <= {201, 202}  # 202 if the machine was too busy for the gateway
    assert audit() == []


# --- An old version on the new schema ----------------------------------------------------------------------


def git(*arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=project.BASE_DIR, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture
def old_code(tmp_path):
    """The code from just before the newest migration, in a folder of its own."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    # Along the first parents, because what a merge brings may have been renamed there.
    newest = git("log", "-1", "--first-parent", "-m", "--format=%H", "--", "*/migrations/0*.py")
    before = newest and git("rev-parse", "--verify", "--quiet", f"{newest}^")
    if not before:
        pytest.skip("the checkout has no history from before the newest migration")
    packed = tmp_path / "old.tar"
    assert git("archive", f"--output={packed}", before) == ""
    folder = tmp_path / "old"
    shutil.unpack_archive(packed, folder)
    return folder


SELL = """
import json, sys, uuid
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.placing import place
from bookings.wishes import Wish
from accounts.models import User
from django.test import Client
from ticketbook import health
from ticketbook.postgres import clock

user, tier = User.objects.get(email="ann@example.com"), sys.stdin.readline().strip()
def wish(): return Wish(user=user, ticket_tier_id=uuid.UUID(tier), quantity=2, idempotency_key=uuid.uuid4(),
                        arrived_at=clock.ask())
kept, given_back = place(wish()).booking, place(wish()).booking
cancel(Booking.objects.get(pk=given_back.pk), now=clock.ask())
client = Client(headers={"host": "localhost"})
paths = ["/readyz", "/", "/api/v1/concerts", f"/concerts/{kept.ticket_tier.concert_id}/"]
print(json.dumps({"kept": kept.status, "paths": [client.get(path).status_code for path in paths],
                  "audit": [str(line) for line in audit()]}))
"""


def test_the_code_from_before_the_newest_migration_sells_on_this_schema(old_code, tmp_path):
    """Both versions serve during a rolling deployment, and the schema is the new one by then."""
    UserFactory(email="ann@example.com")
    tier = TicketTierFactory()
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", SELL],
        cwd=old_code,
        env=environment(
            DATABASE_URL=url_of(connection.get_connection_params()),
            DEBUG="on",  # static files of the old code are not collected
            SECRET_KEY="only-for-tests" * 5,
            DATA_DIR=tmp_path / "data",
            PAYMENT_SUCCESS_RATE="1",
        ),
        input=str(tier.pk),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"kept": "CONFIRMED", "paths": [200] * 4, "audit": []}
    tier.refresh_from_db()
    assert tier.available_quantity == 98
    assert audit() == []
