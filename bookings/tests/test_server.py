"""The web server as a whole: its limits, and an end that loses nothing, under load."""

import http.client
import json
import signal
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tests.site import Site, at_once, tokens
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def start(ledger):
    """Start a site with these settings."""
    sites = []

    def start(**environment):
        sites.append(Site(**environment))
        return sites[-1].wait_until_ready()

    yield start
    for site in sites:
        site.stop()


class Buyers:
    """Customers who book until they are told to stop; what each was answered."""

    def __init__(self, site, tier, count=16):
        self.site, self.tier, self.tokens = site, tier, tokens(UserFactory.create_batch(count))
        self.stopped, self.answers, self.promised = threading.Event(), Counter(), []
        self.threads = [threading.Thread(target=self.buy, args=[token]) for token in self.tokens]
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


def settled(ledger, tier, promised):
    """After the resolver: every answer was kept, and the money fits the tickets."""
    assert audit() == []
    resolve_expired(now=timezone.now() + timedelta(minutes=10), limit=10_000)
    assert not Booking.objects.pending().exists()
    confirmed = set(Booking.objects.filter(status="CONFIRMED").values_list("pk", flat=True))
    assert set(promised) <= confirmed
    assert {uuid.UUID(key) for key in ledger.kept()} == confirmed
    assert audit() == []


# --- The end ----------------------------------------------------------------------------------------


def test_sigterm_under_load_finishes_what_is_in_flight(start, ledger):
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    time.sleep(1.5)
    before = time.monotonic()
    site.process.terminate()
    assert site.process.wait(timeout=30) == 0
    assert time.monotonic() - before < 10
    buyers.stop()
    assert len(buyers.promised) > 20
    assert set(buyers.answers) <= {201, 503, "lost"}
    assert not Booking.objects.pending().exists()  # no resolver was needed
    settled(ledger, tier, buyers.promised)


def test_a_charge_in_flight_is_waited_for(start, ledger, ann, tier):
    """SIGTERM comes while the gateway thinks: the client gets its 201."""
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


def test_sigkill_under_load_leaves_what_the_resolver_finishes(start, ledger):
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    time.sleep(1)
    for worker in site.workers():
        worker.send_signal(signal.SIGKILL)
    time.sleep(2)  # gunicorn starts others
    buyers.stop()
    assert buyers.answers[201] > 20
    settled(ledger, tier, buyers.promised)


def test_sessions_cut_under_load_cost_a_moment(start, ledger):
    """Every session of the server is ended again and again, as a restart of the database does it."""
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier)
    for _ in range(6):
        time.sleep(0.4)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    time.sleep(1)
    before = buyers.answers[201]
    time.sleep(1)
    buyers.stop()
    assert buyers.answers[201] > before  # it sells again, by itself
    assert set(buyers.answers) <= {201, 202, 503}
    settled(ledger, tier, buyers.promised)


# --- Limits -----------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_cut_off(start):
    site = start()
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as silent:
        before = time.monotonic()
        silent.sendall(b"POST /api/v1/bookings HTTP/1.1\r\nHost: local")
        assert silent.recv(100) == b""
        assert 5 < time.monotonic() - before < 20


def test_more_connections_than_allowed_are_told_so(start):
    site = start(WEB_CONCURRENCY="1", WEB_CONNECTIONS="5")
    clients = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(5)]
    time.sleep(0.2)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sixth:
        assert sixth.recv(1000).startswith(b"HTTP/1.1 503")
    for client in clients:
        client.close()
    time.sleep(0.2)
    assert site.request("GET", "/livez")[0] == 200


def test_slow_senders_hold_no_thread(start, ledger, ann, tier):
    """More of them than there are threads, each with half a body; the others are served meanwhile."""
    site = start(WEB_CONCURRENCY="1", WEB_THREADS="2")
    (token,) = tokens([ann])
    head = (
        f"POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
        "Content-Length: 200\r\n\r\n{"
    )
    slow = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(50)]
    for client in slow:
        client.sendall(head.encode())
    assert site.book(token, tier)[0] == 201
    assert site.request("GET", "/concerts/")[0] == 200
    for client in slow:
        client.close()
    assert site.book(token, tier)[0] == 201
    assert Booking.objects.count() == 2


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_a_request_that_comes_drop_by_drop_is_read_as_it_is(start, ledger, ann, tier, ending):
    """Every byte by itself, head and body; a bare newline is refused as it is when it comes in one piece."""
    site = start(WEB_CONCURRENCY="1")
    (token,) = tokens([ann])
    body = json.dumps(
        {"ticketTierId": str(tier.pk), "quantity": 3, "idempotencyKey": str(uuid.uuid4())}
    )
    lines = [
        "POST /api/v1/bookings HTTP/1.1", "Host: localhost", f"Authorization: Token {token}",
        f"Content-Length: {len(body)}", "", "",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # refused before it has said all
            for byte in (ending.join(lines) + body).encode():
                client.sendall(bytes([byte]))
                time.sleep(0.002)
        answer = client.recv(2000)
    if ending == "\n":
        assert answer.startswith(b"HTTP/1.1 400")
        assert Booking.objects.count() == 0
    else:
        assert answer.startswith(b"HTTP/1.1 201")
        assert Booking.objects.get().quantity == 3


def test_pipelined_requests_that_come_in_pieces_are_all_answered(start):
    site = start(WEB_CONCURRENCY="1")
    requests = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(requests), 7):
            client.sendall(requests[at : at + 7])
            time.sleep(0.005)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(10_000):
            answer += piece
    assert answer.count(b"HTTP/1.1 200") == 5


def quickest_booking(site, token, tier):
    before = time.monotonic()
    assert site.book(token, tier)[0] == 201
    return time.monotonic() - before


def test_a_body_of_very_many_chunks_is_refused(start, ledger, ann, tier):
    """Each chunk costs the event loop time, and everybody else waits."""
    site = start(WEB_CONCURRENCY="1")
    (token,) = tokens([ann])
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(
            b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with suppress(OSError):
            for _ in range(200):
                client.sendall(b"2\r\nxx\r\n" * 2000)
        with suppress(OSError):
            assert client.recv(100).startswith((b"HTTP/1.1 400", b""))
    assert quickest_booking(site, token, tier) < 2


def is_cut_off(client, data):
    """Whether the server ends the connection while we send."""
    try:
        for _ in range(2000):
            client.sendall(data)
    except OSError:
        return True
    return False


def test_a_client_that_pipelines_without_end_is_cut_off(start):
    site = start(WEB_CONCURRENCY="1")
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(request * 3)
        time.sleep(0.5)
        assert client.recv(10_000).count(b"200 OK") == 3
        assert is_cut_off(client, request * 1000)
    assert site.request("GET", "/livez")[0] == 200


def test_a_client_that_never_reads_gives_its_place_back(start):
    site = start(WEB_CONCURRENCY="1", WEB_CONNECTIONS="5")
    request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    deaf = [socket.create_connection(("127.0.0.1", site.port), timeout=5) for _ in range(5)]
    for client in deaf:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(request * 300)
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError, http.client.HTTPException):
            if site.request("GET", "/livez")[0] == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    for client in deaf:
        client.close()


def test_a_client_that_has_said_all_still_gets_its_answer(start):
    """It closes its half of the connection, as `nc` and some libraries do."""
    site = start()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_a_booking_on_a_thread_whose_client_is_gone_is_finished_at_the_end(
    start, ledger, ann, tier
):
    """Its key is quoted, so it is Django's; its gateway takes its time; its client resets the connection."""
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


def test_a_client_that_hangs_up_after_sending_has_its_booking(start, ledger, ann, tier):
    site = start()
    (token,) = tokens([ann])
    body = json.dumps(
        {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    )
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(
            f"POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
    deadline = time.monotonic() + 20
    while not Booking.objects.filter(status="CONFIRMED").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(ledger.kept()) == 1


def test_connections_are_dealt_out_to_the_processes(start):
    """With one socket for all, one process often took them all."""
    site = start()
    clients = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(64)]
    time.sleep(0.3)
    shares = [
        sum(c.status == psutil.CONN_ESTABLISHED for c in worker.net_connections("inet")
            if c.laddr.port == site.port)
        for worker in site.workers()
    ]  # fmt: skip
    for client in clients:
        client.close()
    assert sum(shares) == 64
    assert min(shares) > 10


def test_the_old_command_starts_the_same_server(start, ledger, ann, tier):
    site = start(APPLICATION="ticketbook.wsgi")
    (token,) = tokens([ann])
    assert site.book(token, tier)[0] == 201


def test_a_reload_serves_on(start, ledger):
    """SIGHUP: new processes take over; nobody's booking is lost."""
    site, tier = start(), TicketTierFactory(total_quantity=100_000)
    buyers = Buyers(site, tier, count=8)
    time.sleep(0.7)
    old = {worker.pid for worker in site.workers()}
    site.process.send_signal(signal.SIGHUP)
    time.sleep(4)
    buyers.stop()
    assert not old & {worker.pid for worker in site.workers()}
    assert at_once(lambda i: site.book(buyers.tokens[i], tier)[0], 4) == [201] * 4
    settled(ledger, tier, buyers.promised)
