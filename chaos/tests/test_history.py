from dataclasses import asdict

import pytest

from chaos import facts
from chaos.history import OK, UNKNOWN, History, Recorder


def recorded(file):
    recorder = Recorder(file, seed=7, schedule=["1 kill_web 0"])
    with recorder.attempt("buyer-1", "book", {"tier": "t", "key": "k"}) as first:
        with recorder.attempt("buyer-2", "look_up", {"booking": "b"}) as second:
            second.outcome, second.status, second.answer = OK, 200, {"id": "b"}
        first.error = "cut"
    with recorder.fault("kill_web", {"arguments": ["0"]}) as fault:
        fault.note = "pid 1"
    recorder.close()
    return recorder, [first, second], [fault]


def test_a_history_is_read_as_it_was_written(tmp_path):
    recorder, attempts, faults = recorded(tmp_path / "history.jsonl")
    history = History.read(tmp_path / "history.jsonl")
    assert history.header == recorder.header
    assert history.header.seed == 7
    assert history.attempts == attempts  # in the order in which they began
    assert history.faults == faults


def test_an_attempt_without_an_answer_is_unknown(tmp_path):
    _, [first, _], _ = recorded(tmp_path / "history.jsonl")
    assert (first.outcome, first.status) == (UNKNOWN, 0)
    assert 0 <= first.began <= first.ended


def test_an_attempt_that_raises_is_written_all_the_same(tmp_path):
    recorder = Recorder(tmp_path / "history.jsonl", seed=1, schedule=[])
    with pytest.raises(RuntimeError), recorder.attempt("buyer-1", "book", {}):
        raise RuntimeError
    assert [attempt.outcome for attempt in History.read(tmp_path / "history.jsonl").attempts] == [
        UNKNOWN
    ]


def test_what_is_no_history_is_an_error(tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_text('{"seed": 1}\n')
    with pytest.raises(ValueError, match="is no history"):
        History.read(file)


def test_facts_are_read_as_they_were_written(tmp_path):
    known = facts.Facts(
        tiers={"t": facts.Tier("c", 10, 1, 5, None, "10.00")},
        concerts={"c": facts.Concert("PUBLISHED")},
        captures=[facts.Capture("b", "10.00", 1.5)],
        capacity=[facts.CapacityChange("t", 2.5, "total", 9, 10)],
        audit=["wrong"],
    )
    known.write(tmp_path / "facts.json")
    assert asdict(facts.Facts.read(tmp_path / "facts.json")) == asdict(known)
