"""Runs all of TicketBook in the foreground."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from io import StringIO
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections

from bookings.gateways import hosted, named
from ticketbook import statics
from ticketbook.embedded import membership
from ticketbook.ports import port_problem

READY_LIMIT = 60  # seconds
STOP_LIMIT = 25  # seconds for one process; above gunicorn's graceful_timeout
WATCH_SECONDS = 0.5
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


class Command(BaseCommand):
    help = "Start TicketBook with demo data: database, web server and job worker. Ctrl-C stops it."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_a_real_site()
        _refuse_taken_ports()
        children: list[Child] = []
        try:
            _interrupt_on_signals()
            log_ins = self.prepare()
            children.append(Child("web server", "-m", "gunicorn", "ticketbook.asgi"))
            # The worker ends when it loses the database. `_watch` starts both again.
            worker = Child("job worker", "manage.py", "procrastinate", "worker", lives=5)
            children.append(worker)
            if _has_payment_page():
                # The welcome says where it is.
                page = Child("payment page", "manage.py", "payment_page", "--verbosity=0")
                children.append(page)
            _wait_until_ready(children)
            self.welcome(log_ins)
            _watch(children)
        except KeyboardInterrupt:
            pass
        finally:
            self.stop(children)

    def prepare(self) -> str:
        # Returns the log-ins, as load_demo prints them.
        statics.make_fresh()
        self.say("Preparing the database…")
        call_command("migrate", verbosity=0, interactive=False)
        output = StringIO()
        call_command("load_demo", yes=True, stdout=output)
        connections.close_all()
        return output.getvalue()

    def welcome(self, log_ins: str) -> None:
        where = f"TicketBook is ready: {_address()}/"
        if _has_payment_page():
            where += f"\nIts customers pay at {hosted.address()}/, where no money moves."
        if not settings.EMAIL_URL:
            where += (
                f"\nMails become files in {settings.EMAIL_FILE_PATH}/, which a mail program opens."
            )
        self.say(f"\n{where}\n\n{log_ins.rstrip()}\n\nCtrl-C stops it.")

    def stop(self, children: "list[Child]") -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt this
        self.say("\nStopping…")
        for child in children:
            child.stop()
        connections.close_all()
        membership.leave()
        self.say("Stopped.")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class Child:
    """A process of the demo, in a session of its own, so that Ctrl-C reaches only the command."""

    def __init__(self, name: str, *arguments: str, lives: int = 1) -> None:
        self.name = name
        self.arguments = arguments
        self.lives = lives
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.arguments],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )

    def check(self) -> None:
        # Start it again if it has ended. Raises CommandError if that was its last life.
        if (code := self.process.poll()) is None:
            return
        self.lives -= 1
        if not self.lives:
            raise CommandError(f"The {self.name} ended unexpectedly (exit code {code}).")
        self.start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _end_with_parent() -> None:
    # The kernel stops this child if the demo is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _refuse_a_real_site() -> None:
    if settings.HTTPS:
        raise CommandError(
            "HTTPS=on says that this is a site for customers, and the demo has a staff log-in that "
            "everybody knows. Start gunicorn and the worker instead (docs/operations.md), or unset "
            "HTTPS."
        )


def _refuse_taken_ports() -> None:
    if problem := port_problem():
        raise CommandError(f"{problem} Choose another one: make demo PORT=8001")
    if _has_payment_page() and (problem := port_problem(settings.HOSTED_PORT)):
        raise CommandError(f"{problem} Choose another one: make demo HOSTED_PORT=9001")


def _has_payment_page() -> bool:
    return named.default() == "hosted"


def _interrupt_on_signals() -> None:
    for number in STOP_SIGNALS:
        # nohup ignores SIGHUP, and it should stay so.
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _address() -> str:
    host = settings.BIND_ADDRESS
    return f"http://{'127.0.0.1' if host in {'', '0.0.0.0'} else host}:{settings.PORT}"


def _wait_until_ready(children: list[Child]) -> None:
    # The servers are on this machine, so a proxy that http_proxy names is not used.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    addresses = [f"{_address()}/readyz"]
    if _has_payment_page():
        addresses.append(f"{hosted.address()}/")
    deadline = time.monotonic() + READY_LIMIT
    answer: object = None
    while time.monotonic() < deadline:
        for child in children:
            child.check()
        try:
            while addresses:
                opener.open(addresses[0], timeout=5).close()
                del addresses[0]
            return
        except OSError as exc:
            answer = exc
        time.sleep(0.1)
    raise CommandError(f"{addresses[0]} was not ready in {READY_LIMIT} seconds: {answer}.")


def _watch(children: list[Child]) -> NoReturn:
    while True:
        for child in children:
            child.check()
        connection.get_connection_params()  # starts the embedded server again if it has died
        time.sleep(WATCH_SECONDS)
