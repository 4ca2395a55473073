"""Which backups a restore starts from, which are kept, and which restores are refused."""

import json
import socket
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from deploy import backups, restoring
from deploy.backups import Backup
from deploy.restoring import NoRestore

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def made(days_ago, parent=None):
    ended = NOW - timedelta(days=days_ago)
    name = f"{ended:%Y%m%dT%H%M%SZ}-{'incremental' if parent else 'full'}"
    segment = f"00000001000000000000{1000 - days_ago:04d}"
    return Backup(name, parent.name if parent else "", ended.isoformat(), segment)


@pytest.fixture
def kept(where, monkeypatch):
    """Put these backups into the place, prune, and return which are left and where the archive begins."""
    cleaned = []
    monkeypatch.setattr(backups, "as_server_user", lambda *command: cleaned.append(command))

    def act(*found):
        for each in found:
            (where.backups / each.name).mkdir(parents=True)
            (where.backups / f"{each.name}.json").write_text(json.dumps(asdict(each)))
        backups.prune(where, now=NOW, keep=timedelta(days=14))
        assert {file.name for file in where.backups.iterdir() if file.is_dir()} == {
            each.name for each in backups.existing(where)
        }
        return backups.existing(where), [command[-1] for command in cleaned]

    return act


def test_what_the_last_fourteen_days_need_is_kept_with_its_wal(kept):
    old, older = made(13), made(20)
    oldest, built = made(40), made(39, made(40))
    newest = made(1)
    assert kept(oldest, built, older, old, newest) == ([older, old, newest], [older.first_wal])


def test_all_stay_while_none_is_older_than_what_is_kept(kept):
    found = [made(3), made(2), made(1)]
    assert kept(*found) == (found, [found[0].first_wal])


def test_two_full_backups_stay_however_old_they_are(kept):
    first, second, third = made(90), made(60), made(50)
    assert kept(first, second, third) == ([second, third], [second.first_wal])


def test_an_incremental_backup_stays_with_what_it_builds_on(kept):
    full = made(30)
    built = made(2, full)
    assert kept(full, built) == ([full, built], [full.first_wal])


def test_a_restore_takes_the_newest_backup_before_the_second_with_what_it_builds_on():
    full = made(3)
    first, second = made(2, full), made(1, full)
    target = second.ended - timedelta(seconds=1)
    assert restoring.plan([full, first, second], target, now=NOW) == [full, first]


def test_a_second_before_the_first_backup_is_refused_with_the_first_possible_one():
    full = made(3)
    with pytest.raises(NoRestore, match=r"first backup was whole at 2026-11-23 12:00:00 UTC"):
        restoring.plan([full], full.ended - timedelta(seconds=1), now=NOW)


def test_a_restore_without_a_backup_or_of_the_future_is_refused():
    with pytest.raises(NoRestore, match="No backup was ever made"):
        restoring.plan([], NOW, now=NOW)
    with pytest.raises(NoRestore, match="in the future"):
        restoring.plan([made(3)], NOW + timedelta(seconds=1), now=NOW)


def test_a_folder_with_something_in_it_is_never_restored_into(where, tmp_path, monkeypatch):
    monkeypatch.setattr(backups, "existing", lambda where: [made(3)])
    into = tmp_path / "mine"
    into.mkdir()
    (into / "letter").write_text("dear")
    with pytest.raises(NoRestore, match="is not empty"):
        restoring.restore(where, NOW - timedelta(days=1), into, port=1)
    assert (into / "letter").read_text() == "dear"


def test_an_earlier_restore_is_named_with_the_command_that_removes_it(where, tmp_path, monkeypatch):
    monkeypatch.setattr(backups, "existing", lambda where: [made(3)])
    into = tmp_path / "restored"
    into.mkdir()
    restoring._configure(where, NOW, into, 1)
    with pytest.raises(NoRestore, match=f"earlier restore.*: rm -r '{into}'"):
        restoring.restore(where, NOW - timedelta(days=1), into, port=1)


def test_a_port_that_another_server_has_is_never_taken_for_the_restored_one(
    where, tmp_path, monkeypatch
):
    monkeypatch.setattr(backups, "existing", lambda where: [made(3)])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(NoRestore, match=f"Another server runs at 127.0.0.1:{port}"):
            restoring.restore(where, NOW - timedelta(days=1), tmp_path / "second", port=port)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-26 12:00:00"])
def test_a_second_without_its_offset_is_no_second(at):
    with pytest.raises(NoRestore, match="is no second"):
        restoring._target(at)
