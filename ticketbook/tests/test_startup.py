import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError

from ticketbook.embedded.binaries import server_user
from ticketbook.startup import explain
from ticketbook.tests.running import User, environment, free_port, manage, postmaster, python

OLD_SERVERS = sorted(Path("/usr/lib/postgresql").glob("1[0-7]/bin"))
SOCKETLESS = "unix_socket_directories="


@pytest.mark.parametrize("command", [["migrate"], ["procrastinate", "worker"]], ids=" ".join)
def test_an_unreachable_database_is_one_sentence_without_the_password(command, tmp_path):
    port = free_port()
    url = f"postgres://ann:hush@127.0.0.1:{port}/tickets"
    done = manage(*command, DATABASE_URL=url, SECRET_KEY="x" * 50, DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"TicketBook cannot reach its database at 127.0.0.1:{port}: connection refused. "
        "Start PostgreSQL 18, or correct DATABASE_URL."
    )
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


def test_a_refused_password_is_one_sentence(data_dir, tmp_path):
    with User(data_dir) as ann:
        url = "postgres://ticketbook:hush@127.0.0.1:{port}/ticketbook".format(**ann.params)
        done = manage("migrate", DATABASE_URL=url, SECRET_KEY="x" * 50, DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert 'password authentication failed for user "ticketbook"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stderr


def test_traceback_shows_all(tmp_path):
    url = f"postgres://ann:hush@127.0.0.1:{free_port()}/tickets"
    done = manage(
        "migrate", "--traceback", DATABASE_URL=url, SECRET_KEY="x" * 50, DATA_DIR=tmp_path
    )
    assert done.stderr.startswith("Traceback")
    assert "connection refused" in done.stderr.lower()


@pytest.mark.parametrize("command", ["check", "migrate", "demo"])
def test_a_wrong_setting_is_one_sentence(command, tmp_path):
    done = manage(command, PORT="abc", DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "PORT='abc' is not a number. Set it to 1 … 65535.\n"


def test_the_web_server_says_what_is_wrong_with_its_settings(tmp_path):
    env = environment(PORT="abc", DATA_DIR=tmp_path)
    server = python("-m", "gunicorn", "ticketbook.asgi", env=env)
    assert server.communicate(timeout=30)[1] == "PORT='abc' is not a number. Set it to 1 … 65535.\n"
    assert server.returncode == 1


def test_a_second_web_server_does_not_share_the_port_of_the_first(tmp_path):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as our processes do
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        env = environment(PORT=port, DATA_DIR=tmp_path)
        server = python("-m", "gunicorn", "ticketbook.asgi", env=env)
        assert server.communicate(timeout=30)[1] == (
            f"Port {port} is in use. Stop what uses it, or set PORT to another one.\n"
        )
    assert server.returncode == 1


def test_the_database_shell_speaks_to_the_embedded_server(data_dir):
    done = manage("dbshell", "--", "-Atc", "SELECT current_user", DATA_DIR=data_dir)
    assert done.stdout.strip() == "ticketbook", done.stderr


@contextmanager
def old_server(folder: Path) -> Iterator[int]:
    """A PostgreSQL older than 18 that asks for no password; yields its port."""
    options: dict[str, Any] = {"cwd": "/", "text": True, "stderr": subprocess.PIPE}
    folder.mkdir()
    if os.geteuid() == 0:
        user = server_user()
        os.chown(folder, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    programs, port = str(OLD_SERVERS[-1]), free_port()
    initdb = [f"{programs}/initdb", "-D", str(folder), "-U", "ann", "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **options)
    start = [f"{programs}/postgres", "-D", str(folder), "-p", str(port), "-c", SOCKETLESS]
    server = subprocess.Popen(start, **options)
    assert server.stderr is not None
    while "ready to accept" not in server.stderr.readline():
        assert server.poll() is None
    yield port
    server.terminate()
    server.communicate()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def relay(client: socket.socket, port: int) -> None:
    """Pass bytes on in both directions until both sides have closed."""
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=pass_on, args=(server, client))
        back.start()
        pass_on(client, server)
        back.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_worker_that_is_told_to_end_while_its_pool_connects_ends(number, data_dir, tmp_path):
    """The first connection, which tries the database, is passed on. Those of the pool are never answered."""
    with User(data_dir) as ann, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        url = "postgres://ticketbook:{password}@127.0.0.1:{}/ticketbook?sslmode=disable".format(
            listener.getsockname()[1], **ann.params
        )
        env = environment(DATABASE_URL=url, SECRET_KEY="x" * 50, DATA_DIR=tmp_path)
        # Whoever runs the tests by nohup ignores SIGHUP, and so would the worker, as it should.
        usual = signal.signal(number, signal.SIG_DFL)
        worker = python("manage.py", "procrastinate", "worker", env=env)
        signal.signal(number, usual)
        try:
            relay(listener.accept()[0], ann.params["port"])
            with listener.accept()[0]:
                time.sleep(0.5)  # by now all connections of the pool wait
                worker.send_signal(number)
                assert worker.wait(40) == 128 + number  # without the handlers it waits for ever
        finally:
            worker.kill()
            worker.communicate()


def test_a_worker_ends_even_if_the_signal_comes_where_exceptions_are_lost(data_dir):
    """Python only prints an exception that is raised in `__del__` or in a callback of an import."""
    script = """
import signal, time
from django.core.management import ManagementUtility
from ticketbook.startup import run_command

class Told:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def execute(self):
    Told()
    time.sleep(30)

ManagementUtility.execute = execute
run_command(["manage.py", "procrastinate", "worker"])
"""
    worker = python("-c", script, env=environment(DATA_DIR=data_dir))
    complaints = worker.communicate(timeout=40)[1]
    assert (worker.returncode, complaints) == (128 + signal.SIGTERM, "")
    with pytest.raises(FileNotFoundError):
        postmaster(data_dir)


@pytest.mark.skipif(not OLD_SERVERS, reason="there is no PostgreSQL older than 18 here")
def test_an_older_server_is_refused(tmp_path, open_folder):
    with old_server(open_folder / "old") as port:
        url = f"postgres://ann@127.0.0.1:{port}/postgres"
        done = manage("migrate", DATABASE_URL=url, SECRET_KEY="x" * 50, DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert "PostgreSQL 18 or later is required (found " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_only_what_the_operator_can_mend_is_explained():
    def caused(cause: psycopg.Error) -> OperationalError:
        error = OperationalError(str(cause))
        error.__cause__ = cause
        return error

    assert explain(ImproperlyConfigured("PORT is wrong.")) == "PORT is wrong."
    assert "18 or later" in str(explain(NotSupportedError("PostgreSQL 18 or later is required")))
    assert "too many" in str(explain(caused(psycopg.errors.TooManyConnections("too many"))))
    assert explain(caused(psycopg.errors.LockNotAvailable("busy"))) is None
    assert explain(caused(psycopg.errors.QueryCanceled("statement timeout"))) is None
    assert explain(caused(psycopg.errors.DeadlockDetected("deadlock"))) is None
    assert explain(ValueError("a bug")) is None
