"""A cluster that does not come up says why in one sentence."""

import os
import tempfile
from pathlib import Path

import pytest

from deploy import configuration, members
from deploy.controldata import Extent, extent
from ticketbook.embedded import binaries


@pytest.fixture
def empty(where, monkeypatch):
    """A cluster that does not run. Its tests wait for nothing."""
    monkeypatch.setattr(configuration, "hand_over", lambda path: None)
    for limit in ("ETCD_LIMIT", "LEADER_LIMIT", "OTHERS_LIMIT", "LAST_LIMIT"):
        monkeypatch.setattr(members, limit, 0)
    configuration.make_folders(where)
    return where


def test_without_a_majority_of_etcd_no_member_is_started(empty):
    started = []
    with pytest.raises(members.NotStarted) as why:
        members.bring_up(empty, lambda *names: started.extend(names), print)
    assert started == ["e1", "e2", "e3"]
    assert "etcd has no majority" in str(why.value)
    assert "two of e1, e2 and e3 have to run" in str(why.value)
    assert str(empty.logs / "e2.log") in str(why.value)


def test_one_member_of_etcd_less_is_said_and_is_no_reason(empty, monkeypatch):
    said = []
    monkeypatch.setattr(members.etcd, "serving", lambda where: ["e1", "e3"])
    with pytest.raises(members.NotStarted) as why:
        members.bring_up(empty, lambda *names: None, said.append)
    assert said == [
        f"e2 of etcd did not start, and the others go on without. See {empty.logs}/e2.log."
    ]
    assert str(why.value).startswith("No member of PostgreSQL leads after 0 seconds.")


def test_who_alone_may_lead_is_named_and_what_to_do_without_them(where):
    told = members.why_nobody_leads(where, ["n1", "n3"], 2)
    assert "only n1 or n3 may" in told
    assert str(where.logs / "n3.log") in told
    assert f"copy {where.data(2)} to another folder" in told
    assert "make adopt-restored" in told


@pytest.fixture
def forgotten(where, monkeypatch):
    """A cluster whose etcd has forgotten who led. Its members have what the test puts into the dictionary."""
    found = {}
    monkeypatch.setattr(members, "extent", lambda data: found[int(data.name[1:])])
    return found


def test_where_etcd_has_forgotten_who_led_the_one_with_all_wal_does(where, forgotten):
    forgotten |= {1: Extent(6, 900, True), 2: Extent(7, 500, True), 3: Extent(7, 501, True)}
    assert members.furthest_of(where, [1, 2, 3]) == 3


def test_after_a_crash_nobody_guesses_who_led(where, forgotten):
    forgotten |= {1: Extent(6, 900, True), 2: Extent(7, 500, False)}
    with pytest.raises(members.NotStarted, match="etcd has forgotten who led, and not all"):
        members.furthest_of(where, [1, 2])


def test_the_only_one_that_has_data_leads_also_after_a_crash(where, forgotten):
    forgotten |= {2: Extent(7, 500, False)}
    assert members.furthest_of(where, [2]) == 2


def test_a_folder_says_how_far_it_goes_and_whether_it_crashed():
    with tempfile.TemporaryDirectory(dir=place_of_servers()) as folder:
        configuration.hand_over(Path(folder))
        data = Path(folder) / "n1"
        assert binaries.run("initdb", "-D", str(data), "--no-sync").returncode == 0
        new = extent(data)
        assert new.in_order
        run_once(data, "fast")
        later = extent(data)
        assert later.in_order
        assert later > new
        run_once(data, "immediate")
        assert not extent(data).in_order
        with pytest.raises(OSError, match="nothing cannot be read"):
            extent(Path(folder) / "nothing")


def place_of_servers():
    # Root's tests cannot start PostgreSQL in their own folders, which nobody else can enter.
    return None if os.geteuid() else binaries.root_home()


def run_once(data, stop):
    options = f"-c listen_addresses='' -k {data}"
    log = str(data / "log.txt")
    for arguments in (["start", "-o", options, "-l", log], ["stop", "-m", stop]):
        done = binaries.run("pg_ctl", *arguments, "-w", "-D", str(data))
        assert done.returncode == 0, done.stderr
