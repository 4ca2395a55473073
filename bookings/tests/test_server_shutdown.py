"""The web server ends, reloads or is killed under load, and no booking is lost."""

import http.client
import json
import signal
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import Booking
from bookings.tests.leftovers import resolve_all
from bookings.tests.site import at_once, tokens
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Buyers:
    """Customers who book until `stop`. `answers` counts statuses, `promised` lists the ids that got a 201."""

    def __init__(self, site, tier, count=16):
        self.site, self.tier, self.tokens = site, tier, tokens(UserFactory.create_batch(count))
        self.stopped, self.answers, self.promised = threading.Event(), Counter(), []
        self.threads = [
            threading.Thread(target=self.buy, args=[token], daemon=True) for token in self.tokens
        ]
        for thread in self.threads:
            thread.start()

    def buy(self, token):
        while not self.stopped.is_set():
            try:
                status, _, body = self.site.book(token, self.tier)
            except (OSError, http.client.HTTPException):
                self.answers["lost"] += 1
                time.sleep(0.05)
                continue
            self.answers[status] += 1
            if status == 201:
                self.promised.append(uuid.UUID(body["id"]))

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)


def check_that_nothing_is_lost(ledger, tier, promised):
    """After the resolver has run, promised bookings are confirmed, and only confirmed ones are paid."""
    assert audit() == []
    resolve_all(now=timezone.now() + timedelta(minutes=10))
    confirmed = set(Booking.objects.filter(status="CONFIRMED").values_list("pk", flat=True))
    assert set(promised) <= confirmed
    assert {uuid.UUID(key) for key in ledger.kept()} == confirmed
    assert audit() == []


# --- It is told to end --------------------------------------------------------------------------


def test_sigterm_under_load_finishes_what_is_in_flight(start, ledger):
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    wait_until(lambda: len(buyers.promised) > 20)
    before = time.monotonic()
    site.process.terminate()
    assert site.process.wait(timeout=30) == 0
    assert time.monotonic() - before < 10
    buyers.stop()
    assert set(buyers.answers) <= {201, 503, "lost"}
    assert not Booking.objects.pending().exists()  # before the resolver has run
    check_that_nothing_is_lost(ledger, tier, buyers.promised)


def test_a_charge_in_flight_is_waited_for(start, ledger, ann, tier):
    """SIGTERM comes while the gateway thinks, and the client still gets its 201."""
    site = start(PAYMENT_GATEWAY="bookings.payments.SimulatedGateway", PAYMENT_LATENCY_MS="1500",
                 PAYMENT_SUCCESS_RATE="1")  # fmt: skip
    (token,) = tokens([ann])
    answers = []
    client = threading.Thread(target=lambda: answers.append(site.book(token, tier)))
    client.start()
    while not Booking.objects.pending().exists():
        time.sleep(0.02)
    site.process.terminate()
    client.join(20)
    assert [status for status, _, _ in answers] == [201]
    assert Booking.objects.get().status == "CONFIRMED"


def test_idle_clients_do_not_delay_the_end(start):
    site = start()
    idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(20)]
    for client in idle[:10]:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    before = time.monotonic()
    site.process.terminate()
    site.process.wait(timeout=30)
    assert time.monotonic() - before < 4
    for client in idle:
        client.close()


def test_processes_that_are_still_loading_end_at_once(start):
    site = start()
    for worker in site.workers():
        worker.kill()
        worker.wait(10)
    wait_until(lambda: len(site.workers()) == 2)  # gunicorn starts others, which load for a second
    time.sleep(0.3)
    before = time.monotonic()
    site.process.terminate()
    assert site.process.wait(timeout=30) == 0
    assert time.monotonic() - before < 10


def test_a_booking_on_a_thread_is_finished_though_its_client_is_gone(start, ledger, ann, tier):
    """Its key is quoted, so Django books on a thread. The client hangs up while the gateway thinks."""
    site = start(PAYMENT_GATEWAY="bookings.payments.SimulatedGateway", PAYMENT_LATENCY_MS="2000",
                 PAYMENT_SUCCESS_RATE="1", WEB_CONCURRENCY="1")  # fmt: skip
    (token,) = tokens([ann])
    body = json.dumps({"ticketTierId": str(tier.pk), "quantity": 1})
    client = socket.create_connection(("127.0.0.1", site.port))
    client.sendall(
        f"POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
        f'Idempotency-Key: "{uuid.uuid4()}"\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode()
    )
    deadline = time.monotonic() + 10
    while not Booking.objects.pending().exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    site.process.terminate()
    assert site.process.wait(timeout=30) == 0
    assert Booking.objects.get().status == "CONFIRMED"


def test_a_reload_serves_on(start, ledger):
    """SIGHUP replaces the processes, and no booking is lost."""
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier, count=8)
    wait_until(lambda: len(buyers.promised) > 20)
    old = {worker.pid for worker in site.workers()}
    site.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old & {worker.pid for worker in site.workers()})
    buyers.stop()
    assert at_once(lambda i: site.book(buyers.tokens[i], tier)[0], 4) == [201] * 4
    check_that_nothing_is_lost(ledger, tier, buyers.promised)


# --- It is killed, or its database hangs up -----------------------------------------------------


def test_sigkill_under_load_leaves_what_the_resolver_finishes(start, ledger):
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    wait_until(lambda: len(buyers.promised) > 20)
    for worker in site.workers():
        worker.send_signal(signal.SIGKILL)
    time.sleep(2)  # gunicorn starts others
    buyers.stop()
    check_that_nothing_is_lost(ledger, tier, buyers.promised)


def test_database_sessions_cut_under_load_cost_a_moment(start, ledger):
    """All database sessions are ended again and again, as a restart of the database ends them."""
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    for _ in range(6):
        time.sleep(0.4)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )
    time.sleep(1)
    before = buyers.answers[201]
    wait_until(lambda: buyers.answers[201] > before)  # it has recovered by itself
    buyers.stop()
    assert set(buyers.answers) <= {201, 202, 503}
    check_that_nothing_is_lost(ledger, tier, buyers.promised)
