"""The whole of TicketBook in one foreground command."""

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
        refuse_a_real_site()
        refuse_taken_port()
        children: list[Child] = []
        try:
            interrupt_on_signals()
            log_ins = self.prepare()
            children.append(Child("web server", "-m", "gunicorn", "ticketbook.asgi"))
            # procrastinate's worker ends when it loses the database, which we start again.
            worker = Child("job worker", "manage.py", "procrastinate", "worker", lives=5)
            children.append(worker)
            wait_until_ready(children)
            self.welcome(log_ins)
            watch(children)
        except KeyboardInterrupt:
            pass
        finally:
            self.stop(children)

    def prepare(self) -> str:
        """Start the database, make it current, load the demo; returns what load_demo has to say."""
        self.say("Preparing the database…")
        call_command("migrate", verbosity=0, interactive=False)
        output = StringIO()
        call_command("load_demo", yes=True, stdout=output)
        connections.close_all()
        return output.getvalue()

    def welcome(self, log_ins: str) -> None:
        self.say(f"\nTicketBook is ready: {address()}/\n\n{log_ins.rstrip()}\n\nCtrl-C stops it.")

    def stop(self, children: "list[Child]") -> None:
        """In order: no new requests, no new jobs, then no database."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
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
    """A process of the demo, in a session of its own so that Ctrl-C reaches only the demo."""

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
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )

    def check(self) -> None:
        """If it has ended, start it again; CommandError if that was its last life."""
        if (code := self.process.poll()) is None:
            return
        self.lives -= 1
        if not self.lives:
            raise CommandError(f"The {self.name} ended unexpectedly (exit code {code}).")
        self.start()

    def stop(self) -> None:
        """Ask; after a while insist, its own children included."""
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def end_with_parent() -> None:
    """Let the kernel stop this child if the demo is killed and can no longer do it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def refuse_a_real_site() -> None:
    if settings.HTTPS:
        raise CommandError(
            "HTTPS=on says that this is a site for customers, and the demo has a staff log-in that "
            "everybody knows. Start gunicorn and the worker instead (docs/operations.md), or unset "
            "HTTPS."
        )


def refuse_taken_port() -> None:
    """Before anything is started: CommandError if the web server could not listen."""
    if problem := port_problem():
        raise CommandError(f"{problem} Choose another one: make demo PORT=8001")


def interrupt_on_signals() -> None:
    """Let every signal that asks for the end raise KeyboardInterrupt."""
    for number in STOP_SIGNALS:
        # nohup asks to survive the terminal.
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def address() -> str:
    host = settings.BIND_ADDRESS
    return f"http://{'127.0.0.1' if host in {'', '0.0.0.0'} else host}:{settings.PORT}"


def wait_until_ready(children: list[Child]) -> None:
    """Return when /readyz answers 200; CommandError if a child ends or the time is over."""
    # Not through a proxy that http_proxy may name: it is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_LIMIT
    answer: object = None
    while time.monotonic() < deadline:
        for child in children:
            child.check()
        try:
            with opener.open(f"{address()}/readyz", timeout=5):
                return
        except OSError as exc:
            answer = exc
        time.sleep(0.1)
    raise CommandError(f"{address()}/readyz was not ready in {READY_LIMIT} seconds: {answer}.")


def watch(children: list[Child]) -> NoReturn:
    """Until a signal: CommandError if a child ends; a database that died is started again."""
    while True:
        for child in children:
            child.check()
        connection.get_connection_params()  # joins the embedded server, if it is that
        time.sleep(WATCH_SECONDS)
