"""Lets the cluster go on with a restored database. What it had before stays beside it.

    make adopt-restored INTO=/srv/restored

The cluster has to be stopped. At its next start the first member has the restored data; the others copy it.
"""

import fcntl
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from deploy import configuration
from deploy.cluster import running_server
from deploy.layout import Layout, layout


class NotAdopted(Exception):
    """The message is a sentence that says why, or what to do first."""


def adopt(where: Layout, restored: Path, *, now: datetime) -> Path:
    """Put the restored folder in the first member's place. Returns where the earlier data is now."""
    if not (restored / "PG_VERSION").exists():
        raise NotAdopted(f"{restored} is no database. Restore one first: make restore AT=…")
    if (restored / "recovery.signal").exists():
        raise NotAdopted(f"{restored} has not been recovered to its end. See {restored}.log.")
    if server := running_server(restored):
        server.terminate()
        server.wait(60)
    _archive_history(where, restored)
    before = where.home / f"replaced-{now:%Y%m%dT%H%M%SZ}"
    before.mkdir()
    for name in ("data", "etcd"):  # etcd has Patroni's memory of the earlier data
        if (where.home / name).exists():
            (where.home / name).rename(before / name)
    configuration.make_folders(where)
    shutil.move(restored, where.data(1))
    # What the restore had set for its own server.
    (where.data(1) / "postgresql.auto.conf").write_text("")
    for folder, _, files in os.walk(where.data(1)):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            configuration.hand_over(Path(path))
    return before


def _archive_history(where: Layout, restored: Path) -> None:
    """Tell the archive of the restored timeline. Without its history a later restore does not get past it."""
    for history in (restored / "pg_wal").glob("*.history"):
        kept = where.archive / history.name
        if not kept.exists():
            shutil.copy(history, kept)
            configuration.hand_over(kept)


def main() -> None:
    where = layout()
    restored = Path(os.environ.get("INTO") or where.home / "restored").absolute()
    with open(where.home / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = adopt(where, restored, now=datetime.now(UTC))
        except BlockingIOError:
            sys.exit(
                "The cluster runs. Stop it first, so that nobody books on the data that is replaced."
            )
        except (NotAdopted, OSError) as exc:
            sys.exit(str(exc))
    print(
        f"The next start uses {restored}. What there was before is in {before}.\n"
        "Start it: make cluster. Then make a full backup at once: make cluster-backup FULL=1"
    )


if __name__ == "__main__":
    main()
