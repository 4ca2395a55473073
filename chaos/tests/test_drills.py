"""What drills say about a history, and what they rely on elsewhere."""

from math import inf
from pathlib import Path

import pytest

from bookings.failpoints import PLACES, parse
from chaos import drills
from chaos.drills import cost, failpoints, killed_database
from chaos.drills.__main__ import DRILLS
from chaos.history import Attempt, Fault, Header, History
from chaos.patches import ROOT

NO_DRILLS = {"__init__", "__main__", "running", "some_bookings"}


def test_make_chaos_drills_knows_every_drill():
    found = {file.stem for file in Path(drills.__file__).parent.glob("*.py")} - NO_DRILLS
    assert set(DRILLS) == found
    for name in DRILLS:
        assert name in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("place", PLACES)
def test_each_place_is_visited_with_a_kill_an_exception_and_a_delay(place):
    wanted = {"kill": 20, "raise": 1, "delay": 1}
    entries = parse(failpoints._setting(place, wanted))
    assert {each.action: each.most for each in entries if each.name == place} == wanted


def test_the_hits_of_a_place_are_counted_by_their_files(tmp_path):
    for name in ("kill.1", "kill.2", "raise.1"):
        (tmp_path / f"refund.sent.{name}").touch()
    (tmp_path / "refund.begins.kill.1").touch()
    assert failpoints._reached(tmp_path, "refund.sent") == {"kill": 2, "raise": 1}


def test_the_lines_that_a_copy_without_failpoints_leaves_out_are_there():
    assert cost.WHERE_THEY_ARE_SET_UP in (ROOT / "bookings" / "apps.py").read_text()


def history(*attempts, faults):
    header = Header(1, [], "", 0.0)
    rows = [
        Attempt(n, "buyer-1", "book", {}, began, ended, status=status)
        for n, (began, ended, status) in enumerate(attempts, 1)
    ]
    killed = [Fault("kill_postmaster", {"arguments": []}, began, up) for began, up in faults]
    return History(header, rows, killed)


def test_a_5xx_after_the_first_new_booking_is_wrong_and_one_before_it_is_not():
    told = history((9, 11, 503), (11, 12, 503), (11.5, 13, 201), (14, 15, 503), faults=[(8, 10)])
    [recovery] = killed_database._recoveries(told)
    assert (recovery.seconds, [each.n for each in recovery.failed]) == (3, [4])
    [sentence] = killed_database._wrong([recovery])
    assert "request 4" in sentence


def test_the_next_kill_ends_what_is_said_about_a_kill():
    told = history((10, 11, 201), (20.5, 21, 503), faults=[(8, 10), (20, 22)])
    first, second = killed_database._recoveries(told)
    assert (first.seconds, first.failed, second.first) == (1, [], inf)
    assert killed_database._wrong([first, second]) == [
        "Kill 2: the first new booking came after inf s."
    ]
