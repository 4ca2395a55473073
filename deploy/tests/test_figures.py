"""The figures of a failover test count what clients felt."""

from dataclasses import replace

import pytest

from chaos.facts import Booking, Capture, Facts
from chaos.history import Attempt, Header, History
from deploy.failover import figures, report
from deploy.failover.figures import Figures


def told(at, status=201, *, verb="book", code="", error="", replayed=False, booking="b", after=""):
    answer = {"id": booking} if status == 201 else {}
    about = (code, replayed, answer, error, after)
    return Attempt(1, "ann", verb, {}, at - 0.1, at, "", status, *about)


def history(*attempts):
    return History(Header(1, [], "", 0.0), list(attempts))


def test_the_gap_is_the_longest_time_between_acknowledgements_around_the_fault():
    seen = history(told(1), told(2), told(14), told(15))
    assert figures.longest_gap(seen, since=3, until=16) == 12


def test_a_stall_that_never_ends_counts_up_to_the_end():
    seen = history(told(1), told(2))
    assert figures.longest_gap(seen, since=3, until=60) == 58


def test_control_between_acknowledgements_alone_that_stall_is_not_seen():
    seen = history(told(1), told(2))
    assert figures.longest_gap(seen, since=3, until=2) == 0


def test_a_replay_or_a_refusal_is_no_new_booking():
    seen = history(told(1), told(5, replayed=True), told(6, 402), told(7, verb="look_up"), told(9))
    assert figures.longest_gap(seen, since=2, until=10) == 8


def test_errors_are_counted_by_kind_from_the_fault_on():
    seen = history(
        told(1, 503, code="busy", after="1"),
        told(5, 503, code="busy", after="1"),
        told(5, 503, code="busy"),
        told(6, 500, code="server_error"),
        told(7, 0, error="TimeoutError: "),
        told(8, 409, code="insufficient_tickets"),
    )
    assert figures.errors_of(seen, since=4) == {
        "503 busy": 1,
        "503 busy without Retry-After": 1,
        "500 server_error": 1,
        "TimeoutError": 1,
    }


def booked(status="CONFIRMED", payment="SUCCESS", total="20.00", refunded="0.00"):
    return Booking(
        "ann", "t", 2, 0, status, payment, "", total, refunded, "k", "main", "ONLINE", False, 0, 0
    )


def test_an_acknowledged_booking_that_is_in_no_books_is_lost():
    facts = Facts(bookings={"there": booked()})
    seen = history(told(1, booking="there"), told(2, booking="gone"))
    assert figures.lost(seen, facts) == ["gone"]


def test_money_of_the_gateway_is_compared_with_the_books():
    facts = Facts(
        bookings={"a": booked(), "b": booked("FAILED", "FAILED")},
        captures=[Capture("a", "20.00", 0.0)],
    )
    assert figures.money(facts) == ("20.00", "20.00")
    facts.captures.append(Capture("b", "20.00", 0.0))
    assert figures.money(facts) == ("40.00", "20.00")


GOOD = Figures(
    fault="postmaster",
    hit="n1",
    gap=4.2,
    takes_over=3.0,
    rejoins=6.0,
    bookings=100,
    errors={"503 busy": 7},
    lost=0,
    late_read_only=0,
    leader="n2, timeline 2",
    taken="10.00",
    booked="10.00",
    load=1.0,
)


def test_what_was_promised_is_no_failure():
    assert GOOD.failures() == []


@pytest.mark.parametrize(
    "kind", ["503 busy without Retry-After", "500 server_error", "TimeoutError"]
)
def test_busy_with_retry_after_is_the_only_error(kind):
    bad = replace(GOOD, errors={"503 busy": 7, kind: 2})
    assert bad.failures() == [f"Requests failed: 2 × {kind}."]


def test_the_death_of_haproxy_itself_may_cut_connections_and_nothing_more():
    killed = replace(GOOD, fault="haproxy", errors={"ServerDisconnectedError": 5, "503 busy": 1})
    assert killed.failures() == []
    killed.errors = {"500 server_error": 1, "503 busy without Retry-After": 1}
    assert len(killed.failures()) == 2


def test_a_rolling_restart_may_cost_no_answer_at_all():
    assert len(replace(GOOD, fault="rolling_restart").failures()) == 1


def test_everything_that_was_not_as_promised_is_said():
    changes = {
        "gap": 10.0,
        "lost": 1,
        "taken": "20.00",
        "rejoins": None,
        "late_read_only": 2,
        "wrong": ["audit: one ticket too many."],
    }
    bad = replace(GOOD, **changes)
    assert len(bad.failures()) == len(changes)
    told = report.text([GOOD, bad], clients=8, not_tried=["cut_network: no."])
    assert all(sentence in told for sentence in bad.failures())
    assert "1 of 2" in told
    assert "Not tried: cut_network: no." in told


def test_figures_survive_being_written(tmp_path):
    GOOD.write(tmp_path)
    assert Figures.read(tmp_path) == GOOD
