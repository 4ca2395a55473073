"""A tiny merchant that takes webhooks and remembers them."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/events"
        self.received = []  # (headers with names in lower case, body), as they came
        self.answers = []  # the statuses of the next answers; then 200

    def ids(self):
        return [json.loads(body)["id"] for _, body in self.received]

    def told(self):
        """The key and type of each webhook."""
        events = [json.loads(body) for _, body in self.received]
        return [(event["key"], event["type"]) for event in events]


@contextmanager
def receiving(port=0):
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    server.receiver = Receiver(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.receiver
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.received.append((headers, body))
        self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass
