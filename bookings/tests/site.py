"""A real server for the tests: gunicorn with several processes on the test database."""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import psutil
from django.db import connection
from knox.models import AuthToken

from ticketbook.tests.running import free_port

# The server closes idle connections after five seconds. A slow machine may need longer to make a crowd.
KEEP_IDLE = {"GUNICORN_CMD_ARGS": "--keep-alive 60"}


class Site:
    """gunicorn with two processes on the test database, paying at the test gateway."""

    by_thread = False  # whether Django makes the bookings instead of the hot API

    def __init__(self, **environment):
        self.port = free_port()
        params = connection.get_connection_params()
        url = "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)
        application = environment.pop("APPLICATION", "ticketbook.asgi")
        self.log = environment.pop(
            "LOG", None
        )  # a path; by default it writes to our own standard error
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", application],
            env=os.environ
            | {
                "DATABASE_URL": url,
                "SECRET_KEY": "only-for-tests" * 5,
                "PORT": str(self.port),
                "WEB_CONCURRENCY": "2",
                "PAYMENT_GATEWAY": "bookings.tests.gateway.HttpGateway",
                "LOCK_TIMEOUT_MS": "20000",
            }
            | environment,
            stderr=self.log and self.log.open("a"),
        )

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the server ended"
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server never became ready")

    def request(self, method, path, body=None, *, timeout=30, **headers):
        """Status, headers and the parsed body of one request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as http_:
            http_.request(method, path, body and json.dumps(body), headers)
            response = http_.getresponse()
            raw = response.read()
            is_json = "json" in response.headers["Content-Type"]
            return response.status, response.headers, json.loads(raw) if is_json else raw

    def book(self, token, tier, key=None, quantity=1, *, timeout=30):
        key = str(key or uuid.uuid4())
        body = {"ticketTierId": str(tier.pk), "quantity": quantity, "idempotencyKey": key}
        headers = {"Authorization": f"Token {token}"}
        if self.by_thread:  # the hot API leaves a quoted key to Django
            headers["Idempotency-Key"] = f'"{key}"'
        return self.request("POST", "/api/v1/bookings", body, timeout=timeout, **headers)

    def workers(self):
        return psutil.Process(self.process.pid).children()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def tokens(users):
    return [AuthToken.objects.create(user)[1] for user in users]


def at_once(act, times):
    """Run act(i) in threads that start together; returns a list of what they returned."""
    start = Barrier(times, timeout=30)

    def attempt(i):
        start.wait()
        return act(i)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(attempt, range(times)))
