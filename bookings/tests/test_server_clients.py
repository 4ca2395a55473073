"""Clients of a real web server: too many, slow, silent, greedy or gone."""

import http.client
import json
import socket
import time
import uuid
from contextlib import suppress

import psutil
import pytest

from bookings.models import Booking
from bookings.tests.site import KEEP_IDLE, tokens
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


# --- Limits -------------------------------------------------------------------------------------


def test_a_connection_too_many_is_answered_503(start):
    site = start(
        WEB_CONCURRENCY="1", WEB_CONNECTIONS="5", WEB_CONNECTIONS_PER_ADDRESS="9", **KEEP_IDLE
    )
    clients = [connected(site) for _ in range(5)]
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sixth:
        assert sixth.recv(1000).startswith(b"HTTP/1.1 503")
    for client in clients:
        client.close()
    connected(site).close()


def connected(site):
    """A connection that was answered once. One that has said nothing would make room for others.

    The server may still count a connection that its client has closed, so this tries for ten seconds.
    """
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", site.port), timeout=10)
        with suppress(ConnectionError):
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if client.recv(1000).startswith(b"HTTP/1.1 200"):
                return client
        client.close()
        time.sleep(0.1)
    raise AssertionError("the server had no room for this connection")


def test_slow_senders_hold_no_thread(start, ledger, ann, tier):
    """Fifty clients have sent half a body, and there are two threads. Other requests are served meanwhile."""
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


def quickest_booking(site, token, tier):
    before = time.monotonic()
    assert site.book(token, tier)[0] == 201
    return time.monotonic() - before


def test_a_body_of_very_many_chunks_is_refused(start, ledger, ann, tier):
    """Each chunk costs time on the event loop, and everybody else waits for it."""
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
        answers = b""
        while answers.count(b"200 OK") < 3:
            piece = client.recv(10_000)
            assert piece
            answers += piece
        assert is_cut_off(client, request * 1000)
    assert site.request("GET", "/livez")[0] == 200


def test_clients_that_never_read_lose_their_connections(start):
    site = start(WEB_CONCURRENCY="1", WEB_CONNECTIONS="5", WEB_CONNECTIONS_PER_ADDRESS="9")
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


# --- What is unusual and allowed ----------------------------------------------------------------


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_a_request_that_comes_byte_by_byte_is_read_as_usual(start, ledger, ann, tier, ending):
    """A bare newline is refused, as it is when the request comes in one piece."""
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
        with suppress(OSError):  # the server may refuse it before all is sent
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


def test_a_client_that_closes_its_half_still_gets_its_answer(start):
    """`nc` and some libraries close their half of the connection once they have sent the request."""
    site = start()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_who_has_sent_everything_keeps_no_place_after_the_answer(start):
    """Here keep-alive lasts for a minute, and the server has to close the connection long before."""
    site = start(
        WEB_CONCURRENCY="1", WEB_CONNECTIONS="5", WEB_CONNECTIONS_PER_ADDRESS="9", **KEEP_IDLE
    )
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass


def test_a_client_that_hangs_up_after_sending_still_gets_its_booking(start, ledger, ann, tier):
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


# --- The server's processes ---------------------------------------------------------------------


def test_connections_are_spread_over_the_processes(start):
    """With one listening socket for all processes, one of them often took every connection."""
    site = start()
    clients = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(64)]
    try:
        wait_until(lambda: sum(shares(site)) == 64)
        assert min(shares(site)) > 10
    finally:
        for client in clients:
            client.close()


def shares(site):
    """How many connections each process of the site has."""
    return [
        sum(c.status == psutil.CONN_ESTABLISHED for c in worker.net_connections("inet")
            if c.laddr.port == site.port)
        for worker in site.workers()
    ]  # fmt: skip


def test_gunicorn_with_ticketbook_wsgi_starts_the_same_server(start, ledger, ann, tier):
    site = start(APPLICATION="ticketbook.wsgi")
    (token,) = tokens([ann])
    assert site.book(token, tier)[0] == 201
