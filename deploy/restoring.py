"""Restores the database as it was at a second, into an empty folder, and starts it there.

    make restore AT='2026-11-26 19:30:05+00' INTO=/srv/restored

It changes nothing in the cluster's database. The server listens on 127.0.0.1 only, at the port that it says.
"""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from deploy import backups, configuration, patroni
from deploy.backups import Backup
from deploy.cluster import as_server_user, running_server
from deploy.layout import LOCAL, Layout, layout
from deploy.members import NotStarted
from ticketbook.embedded import binaries

RECOVERY_LIMIT = 3600.0  # seconds

SETTINGS = """\
# Written by the restore. They go before what Patroni has written into postgresql.conf.
listen_addresses = '{host}'
port = {port}
cluster_name = 'restored'
# A restored database must not write into the archive of the one that it comes from.
archive_mode = off
primary_conninfo = ''
primary_slot_name = ''
synchronous_standby_names = ''
restore_command = 'cp "{archive}/%f" "%p"'
recovery_target_time = '{target}'
recovery_target_action = 'promote'
recovery_target_timeline = 'latest'
"""


class NoRestore(Exception):
    """The message is a sentence that says why this second cannot be restored."""


@dataclass
class Restored:
    """A restored server that runs."""

    folder: Path
    port: int
    process: psutil.Process
    used: list[Backup]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def plan(found: Sequence[Backup], target: datetime, *, now: datetime) -> list[Backup]:
    """The backups that a restore to this second starts from. Raises NoRestore."""
    if target > now:
        raise NoRestore(f"{_told(target)} is in the future.")
    if not found:
        raise NoRestore(
            "No backup was ever made, so no earlier second can be restored. For the next time, run "
            "make cluster-backup every night."
        )
    usable = [each for each in found if each.ended <= target]
    if not usable:
        raise NoRestore(
            f"{_told(target)} cannot be restored: the first backup was whole at {_told(found[0].ended)}. "
            "Name that second or a later one."
        )
    return backups.chain(found, usable[-1])


def restore(where: Layout, target: datetime, into: Path, *, port: int) -> Restored:
    """Restore to this second, verify, start, and wait until it takes writes. Raises NoRestore, NotStarted."""
    used = plan(backups.existing(where), target, now=datetime.now(UTC))
    _refuse_what_is_taken(into, port)
    if patroni.members(where):  # a cluster that was stopped in order has archived all it had
        with suppress(patroni.NoLeader, psycopg.Error):
            # The last seconds may not be in the archive yet. If no leader is there, they have to be.
            backups.archived_up_to_now(where)
    into.mkdir(parents=True, exist_ok=True)
    into.chmod(0o700)
    configuration.hand_over(into)
    folders = [str(where.backups / each.name) for each in used]
    as_server_user("pg_combinebackup", *folders, f"--output={into}", "--manifest-checksums=SHA256")
    as_server_user("pg_verifybackup", str(into))
    _configure(where, target, into, port)
    try:
        process = _start(where, target, into, port)
    except NoRestore:
        shutil.rmtree(into)  # so that the next try finds it empty
        raise
    return Restored(into, port, process, used)


def _refuse_what_is_taken(into: Path, port: int) -> None:
    if _is_a_restore(into):
        server = running_server(into)
        end_it = f"kill -INT {server.pid}; " if server else ""
        raise NoRestore(
            f"{into} holds an earlier restore. If nobody needs that one, remove it and try again: "
            f"{end_it}rm -r '{into}'"
        )
    if into.exists() and any(into.iterdir()):
        raise NoRestore(f"{into} is not empty. Name another folder, or one that does not exist.")
    with socket.socket() as probe:
        if probe.connect_ex((LOCAL, port)) == 0:
            raise NoRestore(
                f"Another server runs at {LOCAL}:{port}. If it is an earlier restore, end it first: "
                "kill -INT and the number of the process that it named."
            )


def _is_a_restore(folder: Path) -> bool:
    settings = folder / "postgresql.auto.conf"  # emptied when a cluster adopts the folder
    return settings.exists() and settings.read_text().startswith(SETTINGS.splitlines()[0])


def _configure(where: Layout, target: datetime, into: Path, port: int) -> None:
    text = SETTINGS.format(host=LOCAL, port=port, archive=where.archive, target=target.isoformat())
    for name, content in {"postgresql.auto.conf": text, "recovery.signal": ""}.items():
        file = into / name
        file.touch(mode=0o600)
        file.write_text(content)
        configuration.hand_over(file)
    (into / "standby.signal").unlink(missing_ok=True)


def _start(where: Layout, target: datetime, into: Path, port: int) -> psutil.Process:
    log = into.with_name(f"{into.name}.log")
    with open(log, "w") as output:
        child = binaries.start("postgres", "-D", str(into), stdout=output, stderr=output)
    deadline = time.monotonic() + RECOVERY_LIMIT
    while child.poll() is None and time.monotonic() < deadline:
        if _takes_writes(where, port):
            return psutil.Process(child.pid)
        time.sleep(0.2)
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    said = log.read_text()
    if "before configured recovery target was reached" in said:
        raise NoRestore(
            f"The archive ends before {_told(target)}. If no leader runs, it could not be asked for the "
            "rest. Name an earlier second."
        )
    raise NoRestore(
        f"The restored server does not start: {said.strip().splitlines()[-1]} (see {log})."
    )


def _takes_writes(where: Layout, port: int) -> bool:
    try:
        url = where.database_url(port)
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
    except psycopg.Error:
        return False


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _target(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise NoRestore(
            f"AT={text!r} is no second. Write it with its offset from UTC: AT='2026-11-26 19:30:05+00:00'"
        )
    return moment


def main() -> None:
    where = layout()
    try:
        into = Path(os.environ.get("INTO") or where.home / "restored").absolute()
        port = where.port_of("restored")
        done = restore(where, _target(os.environ.get("AT", "")), into, port=port)
    except (NoRestore, NotStarted) as exc:
        sys.exit(str(exc))
    names = ", ".join(each.name for each in done.used)
    print(
        f"{into} is the database as it was then, from {names} and the archive. It runs at {LOCAL}:{port}, "
        f"process {done.process.pid}. Look at it before anybody uses it:\n\n"
        f"  set -a; . {where.config}/ticketbook.env; DATABASE_URL='{where.database_url(port)}'; set +a\n"
        "  .venv/bin/python manage.py audit_inventory\n"
        "  .venv/bin/python manage.py compare_statement STATEMENT.csv"
    )


if __name__ == "__main__":
    main()
