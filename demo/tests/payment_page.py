"""The real payment page for tests: a process of its own, its ledger, and a customer who presses buttons."""

import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings

from ticketbook.tests.running import environment, free_port

NOWHERE = "http://127.0.0.1:9/"  # nobody listens there, and so the webhooks stay pending


@dataclass
class Answer:
    """What a customer sees after a press: a page, or the address that the page sends them to."""

    status: int
    text: str
    location: str


class LedgerReader:
    """What the payment page says happened, to the cent."""

    def __init__(self, path):
        self.path = path

    def query(self, sql, *args):
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql, args).fetchall()

    def states(self):
        """The state of each payment, by its key: open, paid, declined or cancelled."""
        return dict(self.query("SELECT key, state FROM payment"))

    def captures(self):
        """The amounts that were taken, by the payment's key."""
        rows = self.query("SELECT payment, cents FROM capture")
        return {key: Decimal(cents) / 100 for key, cents in rows}

    def refunds(self):
        """The sums that were given back, by the payment's key."""
        rows = self.query("SELECT payment, sum(cents) FROM refund GROUP BY payment")
        return {key: Decimal(cents) / 100 for key, cents in rows}

    def kept(self):
        """The amounts that were taken and not given back, by the payment's key; without zeros."""
        refunds = self.refunds()
        kept = {key: taken - refunds.get(key, 0) for key, taken in self.captures().items()}
        return {key: amount for key, amount in kept.items() if amount}

    def events(self, key):
        """The types of a payment's events, in the order in which they happened."""
        rows = self.query("SELECT type FROM event WHERE payment = ? ORDER BY number", str(key))
        return [kind for (kind,) in rows]

    def pending_webhooks(self):
        rows = self.query("SELECT count(*) FROM event WHERE delivered_at IS NULL AND NOT lost")
        return rows[0][0]


class PaymentPage:
    """A running payment page. Set settings.HOSTED_PORT to `port`, and HostedGateway goes to it."""

    def __init__(self, process, port, path):
        self.process = process
        self.port = port
        self.path = path

    def ledger(self):
        return LedgerReader(self.path)

    def open(self, payment):
        """Look at a payment. It is named by its URL, its reference, or an ActionNeeded."""
        return _visit(self._url(payment))

    def press(self, payment, button):
        """Press a button as a customer does: pay, decline, close, twice or slow."""
        return _visit(self._url(payment), urlencode({"button": button}).encode())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(timeout=10)

    def _url(self, payment):
        name = getattr(payment, "url", payment)
        return name if "/" in name else f"http://127.0.0.1:{self.port}/pay/{name}"


@contextmanager
def running_payment_page(path, webhooks=NOWHERE, port=None, **changes):
    """Run the payment page with its ledger in the file `path`; it goes on with what is in it.

    `changes` are settings as environment variables: HOSTED_WEBHOOK_LOSS_RATE=1.
    """
    port = port or free_port()
    env = environment(
        HOSTED_PORT=port,
        **{"SECRET_KEY": settings.SECRET_KEY, "DATA_DIR": Path(path).parent} | changes,
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "manage.py", "payment_page"),
            *("--ledger", str(path), "--webhooks", webhooks),
        ],
        cwd=settings.BASE_DIR,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline(), "the payment page did not start"
            yield PaymentPage(process, port, path)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            finally:  # a process that does not stop must not hang the tests
                process.kill()


def wait_until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def _visit(url, form=None):
    try:
        response = _opener.open(url, form, timeout=10)
    except urllib.error.HTTPError as exc:  # a redirect, too
        response = exc
    with response:
        return Answer(
            response.status, response.read().decode(), response.headers.get("Location", "")
        )
