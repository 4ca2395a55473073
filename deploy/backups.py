"""Backups of the cluster with PostgreSQL's own tools: base backups, incremental ones, and the archive of WAL.

    make cluster-backup            a full backup if the last one is a week old, otherwise an incremental one
    make cluster-backup FULL=1     a full one

What is older than BACKUP_DAYS (14) is removed then. The last two full backups and what builds on them stay.
PostgreSQL archives its WAL by itself (deploy/config/archive_wal).
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psycopg
from django.core.exceptions import ImproperlyConfigured

from deploy import configuration, patroni
from deploy.cluster import as_server_user
from deploy.layout import MEMBERS, Layout, layout
from deploy.members import NotStarted
from ticketbook.environment import number

FULL_EVERY = timedelta(days=7)
KEEP = timedelta(days=14)
KEEP_CHAINS = 2  # full backups that are kept however old they are
ARCHIVE_LIMIT = 60.0  # seconds until a segment has to be in the archive


class BackupFailed(Exception):
    """The message is a sentence that says what to do."""


@dataclass(frozen=True)
class Backup:
    """A base backup in a folder of its name. `parent` is the one that an incremental one builds on."""

    name: str
    parent: str  # empty for a full one
    ended_at: (
        str  # ISO 8601, by the database's clock: the first second that can be restored from it
    )
    first_wal: str  # the name of the first segment that a restore from it needs

    @property
    def ended(self) -> datetime:
        return datetime.fromisoformat(self.ended_at)

    @property
    def is_full(self) -> bool:
        return not self.parent

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text()))


def existing(where: Layout) -> list[Backup]:
    """All whole backups, the oldest first."""
    found = [Backup.read(file) for file in where.backups.glob("*.json")]
    return sorted(found, key=lambda each: each.ended)


def chain(found: Sequence[Backup], last: Backup) -> list[Backup]:
    """A backup and what it builds on, the full one first."""
    by_name = {each.name: each for each in found}
    built = [last]
    while built[0].parent:
        built.insert(0, by_name[built[0].parent])
    return built


def take(where: Layout, *, full: bool = False) -> Backup:
    """Back up the leader, and verify it. Incrementally, unless `full` or the last full one is old.

    A full one also if the leader has not all WAL since the one before: another member led meanwhile, or it is
    more than wal_keep_size. Raises BackupFailed, NoLeader and NotStarted.
    """
    _end_summaries(where)
    found = existing(where)
    fulls = [each for each in found if each.is_full]
    if not (full or not fulls or datetime.now(UTC) - fulls[-1].ended > FULL_EVERY):
        try:
            return _take(where, found[-1])
        except NotStarted as exc:
            print(
                f"No incremental backup is possible now, so this is a full one. ({exc})", flush=True
            )
    return _take(where, None)


def _take(where: Layout, parent: Backup | None) -> Backup:
    leader = patroni.leader(where, limit=30)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{'incremental' if parent else 'full'}"
    draft = where.backups / f"{name}.part"
    command = [
        "pg_basebackup",
        f"--pgdata={draft}",
        f"--dbname={_conninfo(where, leader.number)}",
        "--checkpoint=fast",
        "--wal-method=stream",
        "--manifest-checksums=SHA256",
    ]
    if parent is None:
        as_server_user(*command)
    else:
        with _summaries(where, leader.number):
            manifest = where.backups / parent.name / "backup_manifest"
            as_server_user(*command, f"--incremental={manifest}")
    as_server_user("pg_verifybackup", str(draft))
    ended_at = _switch_wal(where, leader.number)
    draft.rename(where.backups / name)
    made = Backup(name, parent.name if parent else "", ended_at, _first_wal(where.backups / name))
    (where.backups / f"{name}.json").write_text(json.dumps(asdict(made)))
    return made


@contextmanager
def _summaries(where: Layout, member: int) -> Iterator[None]:
    """Summaries of the WAL that the leader still has exist only during the block.

    A member that always made them could not be promoted while they lag, and not at all after pg_rewind has
    taken WAL away that they still need.
    """
    with as_superuser(where, member) as connection:
        # Made anew each time, so that none is behind what was removed.
        connection.execute(
            "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; rm -f pg_wal/summaries/*.summary'"
        )
        try:
            _set_summaries(where, member, "SET summarize_wal = on", "on")
            yield
        finally:
            _set_summaries(where, member, "RESET summarize_wal", "off")


def _end_summaries(where: Layout) -> None:
    """After a backup whose leader died: no member makes summaries any more."""
    for member in MEMBERS:
        with suppress(psycopg.OperationalError), as_superuser(where, member) as connection:
            if connection.execute("SHOW summarize_wal").fetchone() == ("on",):
                _set_summaries(where, member, "RESET summarize_wal", "off")


def _set_summaries(where: Layout, member: int, change: str, becomes: str) -> None:
    def is_so() -> bool:
        with as_superuser(where, member) as connection:
            return connection.execute("SHOW summarize_wal").fetchone() == (becomes,)

    with as_superuser(where, member) as connection:
        connection.execute(f"ALTER SYSTEM {change}")
        connection.execute("SELECT pg_reload_conf()")
    if not patroni.wait(is_so, limit=10):
        raise BackupFailed(f"summarize_wal did not become {becomes} on n{member}.")


def prune(where: Layout, *, now: datetime, keep: timedelta = KEEP) -> list[str]:
    """Remove backups that no second within `keep` needs, and the WAL before them. Returns their names.

    The last KEEP_CHAINS full backups stay, with what builds on them.
    """
    found = existing(where)
    fulls = [each for each in found if each.is_full]
    # The newest full one from which the first second to keep can be restored, and all after it. As long as
    # none is so old, every one is needed.
    old_enough = [each for each in fulls if each.ended <= now - keep]
    needed = old_enough[-1:] or fulls[:1]
    first = min([*fulls[-KEEP_CHAINS:], *needed], key=lambda each: each.ended, default=None)
    if first is None:
        return []
    gone = [each for each in found if chain(found, each)[0].ended < first.ended]
    for each in reversed(gone):  # what builds on others goes first
        (where.backups / f"{each.name}.json").unlink()
        shutil.rmtree(where.backups / each.name)
    for left in where.backups.glob("*.part"):
        shutil.rmtree(left)
    as_server_user("pg_archivecleanup", str(where.archive), first.first_wal)
    return [each.name for each in gone]


def _conninfo(where: Layout, member: int) -> str:
    # The password is in a file, because everybody can read a command line.
    host, port = where.host(member), where.port_of("postgres", member)
    passwords = where.config / "backup.pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"{host}:{port}:*:replicator:{where.secrets['replication_password']}\n")
    configuration.hand_over(passwords)
    return f"host={host} port={port} user=replicator passfile='{passwords}'"


def as_superuser(where: Layout, member: int) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=where.host(member),
        port=where.port_of("postgres", member),
        user="postgres",
        password=where.secrets["superuser_password"],
        dbname="postgres",
        autocommit=True,
        connect_timeout=5,
    )


def _switch_wal(where: Layout, member: int) -> str:
    """Wait until everything up to now is archived. Returns this moment. Raises BackupFailed."""
    with as_superuser(where, member) as connection:
        # A commit later than any second that is asked for. Without one a recovery does not find its end.
        connection.execute("SELECT pg_current_xact_id()")
        row = connection.execute(
            "SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn()), pg_switch_wal()"
        ).fetchone()
        assert row is not None
        now, segment, _ = row
        if not patroni.wait((where.archive / segment).exists, limit=ARCHIVE_LIMIT):
            failed = connection.execute(
                "SELECT last_failed_wal, last_failed_time FROM pg_stat_archiver"
            ).fetchone()
            raise BackupFailed(
                f"{segment} did not come into the archive within {ARCHIVE_LIMIT:.0f} seconds, so nothing "
                f"after the backup could be restored. The archiver failed last with {failed}: "
                f"see {where.logs} and the space in {where.archive}."
            )
    told: str = now.astimezone(UTC).isoformat()
    return told


def archived_up_to_now(where: Layout) -> datetime:
    """Wait until everything up to now is in the archive. Returns this moment, by the database's clock."""
    return datetime.fromisoformat(_switch_wal(where, patroni.leader(where, limit=30).number))


def _first_wal(backup: Path) -> str:
    label = (backup / "backup_label").read_text()
    found = re.search(r"START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)", label)
    assert found, label
    return found[1]


def main() -> None:
    where = layout()
    try:
        keep = timedelta(days=number("BACKUP_DAYS", KEEP.days, 1, 3650))
        made = take(where, full=bool(os.environ.get("FULL")))
        gone = prune(where, now=datetime.now(UTC), keep=keep)
    except (BackupFailed, NotStarted, patroni.NoLeader, psycopg.Error, ImproperlyConfigured) as exc:
        sys.exit(f"There is no new backup: {exc}")
    first = existing(where)[0]
    print(
        f"{where.backups / made.name} is whole. Any second since {first.ended_at} can be restored."
    )
    if gone:
        print(f"Removed as too old: {', '.join(gone)}.")


if __name__ == "__main__":
    main()
