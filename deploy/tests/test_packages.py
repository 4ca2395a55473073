"""What is missing is said in one sentence."""

import fcntl

import pytest

from deploy import packages
from deploy.cluster import Cluster
from deploy.failover.planned import planned
from deploy.faults import FAULTS, described
from deploy.members import NotStarted


def test_missing_packages_are_named_with_the_command_that_installs_them():
    with pytest.raises(packages.MissingPackages) as exc:
        packages.check(lambda program: None)
    assert str(exc.value) == (
        "The cluster needs etcd-server, haproxy and pgbouncer of Debian or Ubuntu: "
        "sudo apt-get install --no-install-recommends etcd-server haproxy pgbouncer"
    )


def test_only_what_is_missing_is_named():
    with pytest.raises(packages.MissingPackages, match=r"recommends haproxy$"):
        packages.check(lambda program: None if program == "haproxy" else f"/usr/bin/{program}")


def test_nothing_is_said_when_nothing_is_missing():
    packages.check(lambda program: f"/usr/bin/{program}")


def test_a_second_cluster_in_the_same_folder_does_not_start(where, monkeypatch):
    monkeypatch.setattr(packages, "check", lambda: None)
    with open(where.home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster = Cluster(where)
        with pytest.raises(NotStarted, match="runs already"):
            cluster.start()
        cluster.stop()


def test_every_fault_that_a_person_can_strike_is_described():
    assert all(f"FAULT={name} " in described() for name in FAULTS if not FAULTS[name].needs)


def test_faults_can_be_asked_for_by_name_and_number():
    assert list(planned("web, primary_machine*2", usual=1)) == ["web", *["primary_machine"] * 2]
    assert list(planned("web", usual=3)) == ["web"] * 3


@pytest.mark.parametrize("wanted", ["thunder", "web*0", "web*x", "*3"])
def test_what_is_no_fault_is_refused(wanted):
    with pytest.raises(ValueError, match="is no fault"):
        list(planned(wanted, usual=1))
