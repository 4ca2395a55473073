"""A real site whose customers pay at the real payment page, for tests of the whole flow."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.conf import settings
from django.db import connection
from django.test import Client

from bookings.gateways import signatures
from bookings.gateways.hosted import webhook_secret
from bookings.tests.site import Site, tokens
from demo.tests.payment_page import running_payment_page, wait_until
from ticketbook.tests.running import environment, free_port

EVENTS = "/payments/hosted/events"


class HostedSite(Site):
    """gunicorn with two processes, the payment page, and a wire for webhooks between them."""

    def __init__(self, folder, **changes):
        self.changes = {"PAYMENT_GATEWAY": "", "SECRET_KEY": settings.SECRET_KEY}
        self.changes |= {"PAYMENT_DEFAULT": "hosted", "HOSTED_PORT": str(free_port())} | changes
        super().__init__(**self.changes)
        self.folder = folder
        self.wire = Wire(self.port)

    @contextmanager
    def running(self):
        port = int(self.changes["HOSTED_PORT"])
        try:
            with (
                self.wire.running(),
                running_payment_page(
                    self.folder / "ledger.sqlite3", self.wire.url, port
                ) as self.page,
            ):
                self.wait_until_ready()
                yield self
        finally:
            self.stop()

    def ledger(self):
        return self.page.ledger()

    @contextmanager
    def page_down(self):
        """The payment page accepts connections, and does not answer."""
        self.page.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.page.process.send_signal(signal.SIGCONT)

    @contextmanager
    def worker(self, **changes):
        """The real job worker."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", "procrastinate", "worker"],
            cwd=settings.BASE_DIR,
            env=environment(DATABASE_URL=database_url(), **self.changes | changes),
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)

    # --- What customers do ---

    def begin(self, user, tier, quantity=1, key=None):
        """Book by the API; returns the booking's id and the address where the customer pays."""
        [token] = tokens([user])
        status, _, body = self.book(token, tier, key, quantity)
        assert status == 202, body
        return body["id"], body["nextAction"]["url"]

    def press(self, url, button):
        return self.page.press(url, button)

    def browse(self, user, path, fields=None):
        """Open a page as this user, or send a form; returns status, location and text. None: a stranger."""
        headers = {"Cookie": f"csrftoken={CSRF}"}
        if user is not None:
            client = Client()
            client.force_login(user)
            headers["Cookie"] += f"; sessionid={client.cookies['sessionid'].value}"
        form = None
        if fields is not None:
            form = "&".join(f"{k}={v}" for k, v in (fields | {"csrfmiddlewaretoken": CSRF}).items())
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self.send("POST" if form else "GET", path, form, headers)

    def send(self, method, path, body, headers):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as http_:
            http_.request(method, path, body, headers)
            response = http_.getresponse()
            text = response.read().decode()
            return response.status, response.headers.get("Location", ""), text

    # --- What the payment page does, or somebody who pretends to be it ---

    def tell(self, body, headers=None, path=EVENTS):
        """Send a webhook; returns status and text."""
        status, _, text = self.send(
            "POST", path, body, signed(body) if headers is None else headers
        )
        return status, text


CSRF = "x" * 32


def database_url():
    params = connection.get_connection_params()
    return "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)


def signed(body, *, at=None, secret=None):
    at = int(time.time()) if at is None else at
    return {signatures.HEADER: signatures.sign(secret or webhook_secret(), body, at)}


def event(key, kind="payment.succeeded", **changes):
    fields = {"id": f"evt_{uuid.uuid4().hex}", "type": kind, "key": str(key)} | changes
    return json.dumps(fields).encode()


class Wire:
    """Passes webhooks on to the site, and loses them while `broken` is set. It keeps what it has seen."""

    def __init__(self, port):
        self.port = port
        self.broken = False
        self.seen = []  # (body, headers, status that the site answered, or None if it was lost)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Passing)
        self.server.daemon_threads = True
        self.server.wire = self
        self.url = f"http://127.0.0.1:{self.server.server_port}{EVENTS}"

    @contextmanager
    def running(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()

    @contextmanager
    def loses_everything(self):
        self.broken = True
        try:
            yield
        finally:
            self.broken = False

    def about(self, key):
        """What passed about this payment: body, headers, status."""
        return [seen for seen in list(self.seen) if json.loads(seen[0])["key"] == str(key)]

    def wait_for(self, key, kind):
        """Wait until the site has answered a webhook of this type; returns its body and headers."""

        def passed():
            return [seen for seen in self.about(key) if json.loads(seen[0])["type"] == kind]

        wait_until(passed)
        return passed()[0][:2]


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        wire = self.server.wire
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {
            n: v for n, v in self.headers.items() if n in {signatures.HEADER, "Content-Type"}
        }
        status = None if wire.broken else self._pass_on(wire.port, body, headers)
        wire.seen.append((body, headers, status))
        self.send_response(status or 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, port, body, headers):
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as http_:
                http_.request("POST", EVENTS, body, headers)
                return http_.getresponse().status
        except OSError:
            return 502

    def log_message(self, *args):
        pass
