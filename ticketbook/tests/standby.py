"""A real replica of the embedded server that the tests run on, and what can befall it."""

import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings as project
from django.db import connection, connections

from ticketbook.embedded import binaries, cluster, membership
from ticketbook.replica.base import DatabaseWrapper
from ticketbook.replica.lag import marks
from ticketbook.replica.reading import ALIAS
from ticketbook.replica.rest import rest
from ticketbook.tests.running import free_port, wait_until


class Standby:
    """A streaming replica in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.primary = membership.join_as_superuser(project.DATA_DIR)
        # Other tests write a lot while the replica is held. The primary keeps that WAL for it.
        _change(self.primary, "ALTER SYSTEM SET wal_keep_size = '1GB'")
        self.log = open(folder.with_suffix(".log"), "w")  # noqa: SIM115
        words = " ".join(f"{k}='{v}'" for k, v in self.primary.items())
        copy = ["-D", str(folder), "-d", f"{words} application_name=standby", "-R", "-c", "fast"]
        done = binaries.run("pg_basebackup", *copy, "-X", "stream", "--no-sync")
        assert done.returncode == 0, done.stderr
        self.start()

    def start(self):
        options = cluster.OPTIONS | {"fsync": "off", "wal_retrieve_retry_interval": "200ms"}
        arguments = [word for pair in options.items() for word in ("-c", "=".join(pair))]
        self.server = binaries.start(
            *("postgres", "-D", str(self.folder), "-p", str(self.port), *arguments),
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        wait_until(self.answers)

    def answers(self):
        try:
            return self.ask("SELECT pg_is_in_recovery()")
        except psycopg.OperationalError:
            return False

    def stop(self):
        for process in self._processes():
            process.send_signal(signal.SIGCONT)
        self.server.send_signal(signal.SIGINT)
        self.server.wait()

    def remove(self):
        if self.is_running:
            self.stop()
        _change(self.primary, "ALTER SYSTEM RESET wal_keep_size")
        shutil.rmtree(self.folder.parent)

    @property
    def is_running(self):
        return self.server.poll() is None

    def ask(self, statement):
        where = self.primary | {"port": self.port}
        with psycopg.connect(dbname="postgres", autocommit=True, connect_timeout=5, **where) as db:
            return db.execute(statement).fetchone()[0]

    def _processes(self):
        postmaster = psutil.Process(self.server.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    @contextmanager
    def frozen(self):
        """It stands still: it accepts connections, and answers nothing."""
        stopped = self._processes()
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def hold(self):
        """From here on it replays nothing."""
        self.ask("SELECT pg_wal_replay_pause()::text")
        wait_until(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def let_go(self):
        self.ask("SELECT pg_wal_replay_resume()::text")

    def stay_behind(self, seconds):
        """It replays what was committed so many seconds ago."""
        self.change(f"ALTER SYSTEM SET recovery_min_apply_delay = '{seconds}s'")

    def change(self, statement):
        _change(self.primary | {"port": self.port}, statement)

    def catch_up(self):
        """Wait until it has replayed whatever the primary has committed by now."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_logical_emit_message(false, 'test', '', true)")
            (written,) = cursor.fetchone()
        wait_until(lambda: self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))


def _change(where, statement):
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as db:
        db.execute(statement)
        db.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def standby_server():
    home = Path(tempfile.mkdtemp(prefix="standby-"))
    user = binaries.server_user()
    shutil.chown(home, user.pw_uid, user.pw_gid)
    standby = Standby(home / "data")
    yield standby
    standby.remove()


@pytest.fixture
def standby(standby_server):
    """The replica, which follows the primary. A test may stop it, hold it, or freeze it."""
    if not standby_server.is_running:
        standby_server.start()
    standby_server.let_go()
    return standby_server


def connect_if_necessary(self):
    # As Django does. Its tests only let those databases be reached that they know when they begin.
    if self.connection is None:
        with self.wrap_database_errors:
            self.connect()


@pytest.fixture
def use_replica(transactional_db, settings, monkeypatch):
    """Set REPLICA_URL to the server at this port, and REPLICA_MAX_LAG; unless told, it never ends."""
    monkeypatch.setattr(DatabaseWrapper, "ensure_connection", connect_if_necessary)

    def use(port, database=None, *, most=10**6, **parts):
        primary = connection.get_connection_params()
        entry = {
            "ENGINE": "ticketbook.replica",
            "HOST": "127.0.0.1",
            "PORT": port,
            "NAME": database or primary["dbname"],
            "USER": primary["user"],
            "PASSWORD": primary["password"],
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": project_options(),
        } | parts
        both = connections.configure_settings({"default": {}, ALIAS: entry})
        connections.settings[ALIAS] = both[ALIAS]
        settings.REPLICA_URL, settings.REPLICA_MAX_LAG = "postgres://…", most
        settings.DATABASE_ROUTERS = ["ticketbook.replica.router.Router"]
        rest.__init__()
        marks.__init__()

    yield use
    if ALIAS in connections.settings:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]
    marks.__init__()


def project_options():
    return {
        "application_name": "ticketbook reading",
        "connect_timeout": 2,
        "prepare_threshold": None,
        "options": "-c default_transaction_read_only=on -c statement_timeout=10s",
    }


@pytest.fixture
def replica(standby, use_replica):
    """Pages are read from the replica, however far it is behind in a test."""
    use_replica(standby.port)
    return standby
