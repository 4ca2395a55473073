"""A standby of the tests' PostgreSQL, which can be promoted; and what synchronous commits do with it."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connection

from ticketbook.embedded import binaries
from ticketbook.embedded.cluster import Cluster
from ticketbook.embedded.membership import join_as_superuser
from ticketbook.tests.running import free_port, wait_until


def superuser(**changes):
    """A connection to the tests' server, or to another port, which may do everything."""
    params = join_as_superuser(connection.settings_dict["EMBEDDED_DATA_DIR"])
    database = connection.settings_dict["NAME"]
    return psycopg.connect(**params | {"dbname": database} | changes, autocommit=True)


class Standby:
    """It follows the tests' server as a replica, until `promote`."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.port = folder, free_port()
        params = join_as_superuser(connection.settings_dict["EMBEDDED_DATA_DIR"])
        primary = " ".join(
            f"{name}={params[name]}" for name in ("host", "port", "user", "password")
        )
        copied = binaries.run(
            *("pg_basebackup", "-D", str(folder), "-R", "-c", "fast", "-X", "stream", "--no-sync"),
            *("-d", f"{primary} application_name=standby"),
        )
        assert copied.returncode == 0, copied.stderr
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
                    "max_connections": 500, "fsync": "off"}  # fmt: skip
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("a") as out:
            self.process = binaries.start(
                "postgres", "-D", str(folder), *arguments, stdout=out, stderr=subprocess.STDOUT
            )
        wait_until(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None, "the standby ended"
        try:
            with superuser(port=self.port):
                return True
        except psycopg.OperationalError:
            return False

    def catch_up(self) -> None:
        with superuser() as primary, superuser(port=self.port) as standby:
            ((end,),) = primary.execute("SELECT pg_current_wal_lsn()").fetchall()
            has = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: standby.execute(has, [end]).fetchone() == (True,))

    def promote(self) -> None:
        with superuser(port=self.port) as standby:
            assert standby.execute("SELECT pg_promote()").fetchone() == (True,)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def standby_in(log: Path):
    # In a folder that the server's user can reach, as the tests' own server is.
    data_dir = connection.settings_dict["EMBEDDED_DATA_DIR"]
    place = Cluster(data_dir)._new_folder()
    standby = Standby(place / "standby", log)
    try:
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def synchronous(name: str):
    """Every COMMIT on the tests' server waits for the standby of this name, which there may be or not."""
    with superuser() as server:
        server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        server.execute("SELECT pg_reload_conf()")
        shown = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'"
        try:
            wait_until(lambda: _in_new_session(shown) == name)
            yield
        finally:
            server.execute("ALTER SYSTEM RESET synchronous_standby_names")
            server.execute("SELECT pg_reload_conf()")
            wait_until(lambda: _in_new_session(shown) == "")


def _in_new_session(sql):
    with superuser() as server:
        return server.execute(sql).fetchone()[0]
