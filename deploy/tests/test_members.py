"""A cluster that does not come up says why in one sentence."""

import pytest

from deploy import configuration, members


@pytest.fixture
def empty(where, monkeypatch):
    """A cluster of which nothing runs, and nothing is waited for."""
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
    assert "e1, e2 and e3 did not start" in str(why.value)
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
