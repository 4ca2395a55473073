"""Faults that a failover test makes possible by itself, and their mending."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from deploy import disks, faults
from ticketbook.environment import BASE_DIR


@pytest.fixture
def with_disks(where):
    try:
        disks.check()
    except disks.NoDisks as exc:
        pytest.skip(str(exc))
    small = replace(where, disk="1m")
    disks.up(small)
    yield small
    disks.down(small)


def test_a_full_disk_takes_nothing_more_until_it_is_mended(with_disks):
    data = with_disks.own_disk(2) / "data"
    data.write_bytes(b"before")
    disks.fill(with_disks, 2)
    with pytest.raises(OSError, match="No space left"):
        data.write_bytes(b"more than was there before" * 1000)
    (with_disks.own_disk(1) / "data").write_bytes(b"the others have space")
    disks.mend(with_disks)
    data.write_bytes(b"after")


def test_what_there_was_on_such_a_disk_is_forgotten_with_it(with_disks):
    (with_disks.own_disk(1) / "data").touch()
    (with_disks.home / "etcd").mkdir()
    disks.up(with_disks)
    assert not (with_disks.own_disk(1) / "data").exists()
    assert not (with_disks.home / "etcd").exists()


def test_a_cluster_without_disks_of_its_own_is_not_filled(where):
    with pytest.raises(disks.NoDisks):
        faults.full_disk(where)


SAY_THE_TIME = """
import time
for line in iter(input, ""):
    time.sleep(0.3)  # longer than a process believes what it read of its clock
    print(time.time(), flush=True)
"""


def test_a_clock_is_wrong_until_it_is_mended(where):
    for folder in (where.clocks, where.pids, where.down):
        folder.mkdir()
    clock = str(BASE_DIR / "chaos" / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", SAY_THE_TIME],
        env=os.environ | {"PYTHONPATH": clock, "CHAOS_CLOCKS": str(where.clocks)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as web:
        (where.pids / "web1").write_text(str(web.pid))

        def ahead():
            web.stdin.write("?\n")
            web.stdin.flush()
            return float(web.stdout.readline()) - time.time()

        assert abs(ahead()) < 60
        assert faults.wrong_clock(where) in {"web1, by +180 s", "web1, by -180 s"}
        assert abs(ahead()) > 60
        faults.mend(where)
        assert abs(ahead()) < 60
        web.stdin.write("\n")


def test_the_clocks_of_an_ordinary_cluster_cannot_be_set_wrong(where):
    with pytest.raises(OSError, match="cannot be set wrong"):
        faults.wrong_clock(where)
