"""A small disk of its own for each member, so that it can be full: a file system in memory (tmpfs).

Only root can mount one. Nothing on it outlives the cluster, so each start makes a new database.
"""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from deploy.layout import MEMBERS, Layout
from ticketbook.embedded import binaries

SIZE = "400m"
CHUNK = b"\0" * 65536
FULL_LIMIT = 60.0  # seconds until a disk is full


class NoDisks(Exception):
    """The message is a sentence that says why this machine allows no small disks."""


def check() -> None:
    """Raises NoDisks if this machine does not let us mount one."""
    if os.geteuid():
        raise NoDisks("A small disk can be mounted only by root.")
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(Path(folder), "size=1m")
        except (OSError, subprocess.CalledProcessError):
            raise NoDisks("This machine does not allow to mount a small disk.") from None
        _unmount(Path(folder))


def up(layout: Layout) -> None:
    if not layout.disk:
        return
    down(layout)
    for name in ("data", "etcd", "backup"):  # all of them know of the database that there was
        shutil.rmtree(layout.home / name, ignore_errors=True)
    user = binaries.server_user()
    for member in MEMBERS:
        layout.own_disk(member).mkdir(parents=True, exist_ok=True)
        owner = f"mode=700,uid={user.pw_uid},gid={user.pw_gid}"
        _mount(layout.own_disk(member), f"size={layout.disk},{owner}")


def down(layout: Layout) -> None:
    if layout.disk:
        mend(layout)
        for member in MEMBERS:
            _unmount(layout.own_disk(member))


def fill(layout: Layout, member: int) -> None:
    """Take all that is left of a member's disk, and whatever is freed there, until `mend`."""
    ballast = layout.own_disk(member) / "ballast"
    full = threading.Event()
    threading.Thread(target=_keep_full, args=[ballast, full], daemon=True).start()
    full.wait(FULL_LIMIT)


def mend(layout: Layout) -> None:
    if layout.disk:
        for member in MEMBERS:
            (layout.own_disk(member) / "ballast").unlink(missing_ok=True)


def _keep_full(ballast: Path, full: threading.Event) -> None:
    with open(ballast, "wb", buffering=0) as file:
        while ballast.exists():
            for piece in (CHUNK, b"\0"):
                with suppress(OSError):
                    while file.write(piece):
                        pass
            full.set()
            time.sleep(0.1)


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
