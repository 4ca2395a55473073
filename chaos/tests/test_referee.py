"""Each check of the referee is silent about what is right, and speaks about what is wrong."""

from dataclasses import replace

import pytest

from chaos.facts import Booking, Capture, Concert, Facts, Refund, SentBack, Tier
from chaos.history import OK, Attempt, Header, History
from chaos.referee import judge

CONFIRMED = Booking(
    user="ann@example.com",
    tier="t",
    quantity=2,
    returned=0,
    status="CONFIRMED",
    payment_status="SUCCESS",
    failure_reason="",
    total="20.00",
    refunded="0.00",
    key="k",
    gateway="main",
    source="ONLINE",
    called_off=False,
    created_at=1.0,
    updated_at=1.1,
)
CANCELLED = replace(
    CONFIRMED, status="CANCELLED", payment_status="REFUNDED", returned=2, refunded="20.00"
)
FAILED = replace(CONFIRMED, status="FAILED", payment_status="FAILED", failure_reason="EXPIRED")
REFUND = Refund("r", "b", "20.00", 2, "CANCELLED", "SENT")


def told(*verbs):
    """A client who was told that booking `b` is confirmed, and then asked for these verbs."""
    history = History(Header(1, [], "", 0.0))
    body = {"id": "b", "status": "CONFIRMED"}
    request = {"tier": "t", "quantity": 2, "key": "k"}
    history.attempts.append(Attempt(1, "ann", "book", request, 1.0, 1.2, OK, 201, answer=body))
    for number, verb in enumerate(verbs, 2):
        history.attempts.append(Attempt(number, "ann", verb, {"booking": "b"}, 2.0, 2.1, OK, 200))
    return history


def found(booking=CONFIRMED, *, captures=1, sent_back=0, refunds=()):
    facts = Facts(
        tiers={"t": Tier("c", 10, 0, 8, None, "10.00")}, concerts={"c": Concert("PUBLISHED")}
    )
    facts.bookings = {"b": booking} if booking else {}
    facts.captures = [Capture("b", "20.00", 1.05)] * captures
    facts.sent_back = [SentBack(f"r{n}", "b", "20.00", 2.05) for n in range(sent_back)]
    facts.refunds = list(refunds)
    return facts


def broken(history, facts):
    return {violation.check for violation in judge(history, facts)}


@pytest.mark.parametrize(
    ("history", "facts"),
    [
        (told(), found()),
        (told("cancel"), found(CANCELLED, sent_back=1, refunds=[REFUND])),
        (told(), found(replace(CANCELLED, called_off=True), sent_back=1)),
        (told(), found(replace(CONFIRMED, total="0.00"), captures=0)),
    ],
)
def test_what_is_right_is_no_violation(history, facts):
    assert broken(history, facts) == set()


@pytest.mark.parametrize(
    ("check", "history", "facts"),
    [
        ("lost_booking", told(), found(None, captures=0)),
        ("lost_booking", told(), found(FAILED, captures=0)),
        ("lost_booking", told(), found(CANCELLED, sent_back=1)),
        ("lost_booking", told(), found(replace(CONFIRMED, key="other"))),
        ("money_kept", told(), found(captures=0)),
        ("money_kept", told("cancel"), found(CANCELLED)),
        ("money_kept", told("cancel"), found(CANCELLED, sent_back=2)),
        ("money_kept", told(), found(sent_back=1)),
        ("not_quiet", told(), found(replace(CONFIRMED, refunded="20.00"), sent_back=1, refunds=[
            replace(REFUND, status="DUE")
        ])),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_by_its_check(check, history, facts):
    assert broken(history, facts) == {check}


def test_two_captures_are_found():
    assert broken(told(), found(captures=2)) == {"charged_twice", "money_kept"}


def test_money_under_a_key_that_is_no_booking_is_found():
    facts = found()
    facts.captures.append(Capture("nobody", "5.00", 3.0))
    assert broken(told(), facts) == {"money_kept"}


def test_a_pending_booking_an_open_job_and_the_audit_are_found():
    facts = found()
    facts.bookings["p"] = replace(CONFIRMED, status="PENDING", payment_status="PENDING")
    facts.open_jobs, facts.audit = ["refund_booking"], ["One ticket is missing."]
    sentences = {(each.check, each.sentence) for each in judge(told(), facts)}
    assert sentences == {
        ("not_quiet", "Booking p is PENDING."),
        ("not_quiet", "The job refund_booking is open."),
        ("audit", "One ticket is missing."),
    }
