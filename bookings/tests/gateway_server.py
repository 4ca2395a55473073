"""A payment gateway for tests: a process of its own, over HTTP, with a ledger on disk.

    python -m bookings.tests.gateway_server LEDGER.sqlite3

prints its port and serves until its standard input closes. Its ledger outlives the site's processes, so a
test that kills them can still compare the money with the bookings. A charge may be refunded in several
parts; a refund of more than is left is answered 422. `PUT /mode` sets what happens to the calls that follow:

    approve           the money is captured (the mode it starts in)
    decline           the charge is declined
    lose_request      no answer, and the charge never takes effect
    lose_answer       no answer, but the money is captured
    outage            every call is answered 503
    refuse_refunds    refunds are answered 422, charges are captured
"""

import json
import sqlite3
import sys
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEMA = """
CREATE TABLE IF NOT EXISTS charge (key TEXT PRIMARY KEY, amount TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refund (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL REFERENCES charge, amount TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS call (verb TEXT NOT NULL, key TEXT NOT NULL);
"""


class Ledger:
    """Calls, charges and refunds, written to disk before the call is answered."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.executescript(SCHEMA)

    def charge(self, key, amount, outcome):
        """The outcome of the first charge under this key. Later charges change nothing."""
        with self.lock:
            self.db.execute("INSERT INTO call VALUES ('charge', ?)", [key])
            self.db.execute("INSERT OR IGNORE INTO charge VALUES (?, ?, ?)", [key, amount, outcome])
            first = self.db.execute("SELECT amount, outcome FROM charge WHERE key = ?", [key])
            first_amount, first_outcome = first.fetchone()
        assert first_amount == amount, f"key {key} was used for {first_amount}, now for {amount}"
        return first_outcome

    def look_up(self, key):
        with self.lock:
            self.db.execute("INSERT INTO call VALUES ('look_up', ?)", [key])
            row = self.db.execute("SELECT outcome FROM charge WHERE key = ?", [key]).fetchone()
        return row[0] if row else "not_found"

    def refund(self, key, charge, amount):
        """Returns why the refund is refused, or nothing. A key that was used before changes nothing."""
        with self.lock:
            self.db.execute("INSERT INTO call VALUES ('refund', ?)", [key])
            before = self.db.execute("SELECT charge, amount FROM refund WHERE key = ?", [key])
            if first := before.fetchone():
                assert first == (charge, amount), f"key {key} was used for {first}"
                return ""
            left = self._captured(charge) - self._refunded(charge)
            if not 0 < Decimal(amount) <= left:
                return f"{left} of this charge is left to refund, not {amount}"
            self.db.execute("INSERT INTO refund VALUES (?, ?, ?)", [key, charge, amount])
            return ""

    def _captured(self, charge):
        taken = "SELECT amount FROM charge WHERE key = ? AND outcome = 'succeeded'"
        return sum(Decimal(amount) for (amount,) in self.db.execute(taken, [charge]))

    def _refunded(self, charge):
        refunds = self.db.execute("SELECT amount FROM refund WHERE charge = ?", [charge])
        return sum(Decimal(amount) for (amount,) in refunds)


def handler(ledger):
    state = {"mode": "approve"}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            state["mode"] = self.body()["mode"]
            self.answer({})

        def do_POST(self):
            body, mode = self.body(), state["mode"]
            if mode == "outage":
                self.answer({}, status=503)
            elif self.path == "/charge":
                self.charge(mode, body)
            elif self.path == "/look_up":
                self.answer({"outcome": ledger.look_up(body["key"])})
            else:
                self.refund(mode, body)

        def charge(self, mode, body):
            if mode == "lose_request":
                return self.hang_up()
            outcome = "declined" if mode == "decline" else "succeeded"
            outcome = ledger.charge(body["key"], body["amount"], outcome)
            if mode == "lose_answer":
                return self.hang_up()
            return self.answer({"outcome": outcome})

        def refund(self, mode, body):
            if mode == "refuse_refunds":
                why = "refunds are refused"
            else:
                why = ledger.refund(body["key"], body["charge"], body["amount"])
            self.answer({"why": why}, status=422 if why else 200)

        def hang_up(self):
            self.close_connection = True

        def body(self):
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, data, status=200):
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Print nothing: in these tests clients hang up and die on purpose."""


def main():
    server = Server(("127.0.0.1", 0), handler(Ledger(sys.argv[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
