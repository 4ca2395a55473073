"""A payment gateway for tests: a process of its own, over HTTP, with a ledger on disk.

    python -m bookings.tests.gateway_server LEDGER.sqlite3

prints its port and serves until its standard input closes. Its ledger outlives the site's processes, so a
test that kills them can still compare the money with the bookings. `PUT /mode` sets what happens to the
charges that follow:

    approve           the money is captured (the mode it starts in)
    decline           the charge is declined
    lose_request      no answer, and the charge never takes effect
    lose_answer       no answer, but the money is captured
    outage            every call is answered 503
"""

import json
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEMA = """
CREATE TABLE IF NOT EXISTS charge (key TEXT PRIMARY KEY, amount TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refund (
    key TEXT PRIMARY KEY, charge TEXT NOT NULL UNIQUE REFERENCES charge, amount TEXT NOT NULL);
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
        with self.lock:
            self.db.execute("INSERT INTO call VALUES ('refund', ?)", [key])
            captured = self.db.execute(
                "SELECT 1 FROM charge WHERE key = ? AND amount = ? AND outcome = 'succeeded'",
                [charge, amount],
            ).fetchone()
            assert captured, f"nothing to refund under {charge}"
            self.db.execute(
                "INSERT INTO refund VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
                [key, charge, amount],
            )


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
                ledger.refund(body["key"], body["charge"], body["amount"])
                self.answer({})

        def charge(self, mode, body):
            if mode == "lose_request":
                return self.hang_up()
            outcome = "declined" if mode == "decline" else "succeeded"
            outcome = ledger.charge(body["key"], body["amount"], outcome)
            if mode == "lose_answer":
                return self.hang_up()
            return self.answer({"outcome": outcome})

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
