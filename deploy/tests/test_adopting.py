"""The cluster goes on with a restored database, and keeps what it had."""

from datetime import UTC, datetime

import pytest

from deploy import adopting
from deploy.adopting import NotAdopted, adopt

NOW = datetime(2026, 11, 26, 3, tzinfo=UTC)


@pytest.fixture
def restored(written, tmp_path):
    folder = tmp_path / "restored"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18")
    (folder / "postgresql.auto.conf").write_text("port = 8115")
    return folder


@pytest.fixture
def had(written):
    """What the cluster has before: the data of a member, and etcd's memory."""
    written.data(2).mkdir()
    (written.data(2) / "PG_VERSION").write_text("18, before")
    (written.home / "etcd" / "e1").mkdir()


def test_the_first_member_gets_the_restored_data_and_the_others_none(written, restored, had):
    before = adopt(written, restored, now=NOW)
    assert (written.data(1) / "PG_VERSION").read_text() == "18"
    assert (written.data(1) / "postgresql.auto.conf").read_text() == ""
    assert not written.data(2).exists()
    assert list((written.home / "etcd").iterdir()) == []
    assert (before / "data" / "n2" / "PG_VERSION").read_text() == "18, before"
    assert not restored.exists()


def test_the_archive_gets_the_histories_that_it_lacks(written, restored):
    (restored / "pg_wal").mkdir()
    (restored / "pg_wal" / "00000003.history").write_text("of the restore")
    (restored / "pg_wal" / "00000004.history").write_text("1 to 3, restored")
    (written.archive / "00000003.history").write_text("archived before")
    adopt(written, restored, now=NOW)
    assert (written.archive / "00000003.history").read_text() == "archived before"
    assert (written.archive / "00000004.history").read_text() == "1 to 3, restored"


def test_what_is_no_database_changes_nothing(written, tmp_path, had):
    with pytest.raises(NotAdopted, match="is no database"):
        adopt(written, tmp_path / "nothing", now=NOW)
    assert written.data(2).exists()


def test_a_database_that_is_not_recovered_changes_nothing(written, restored, had):
    (restored / "recovery.signal").touch()
    with pytest.raises(NotAdopted, match="not been recovered"):
        adopt(written, restored, now=NOW)
    assert written.data(2).exists()


def test_a_cluster_that_runs_is_left_alone(written, restored, had, monkeypatch):
    monkeypatch.setattr(adopting, "layout", lambda: written)
    with open(written.home / "lock", "w") as lock:
        adopting.fcntl.flock(lock, adopting.fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="Stop it first"):
            adopting.main()
    assert restored.exists()
