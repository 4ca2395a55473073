"""make soak-payments in small, and its judge on data that somebody has tampered with."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest
from django.conf import settings

from bench.payments_judge import Facts, Row, Sent, judge

PRICE = Decimal("20.00")


@pytest.fixture
def facts():
    """A paid booking, a declined one, and one whose money came late and was sent back."""
    sent = Sent("refund", "late", PRICE)
    return Facts(
        bookings={
            "paid": Row("CONFIRMED", "SUCCESS", PRICE),
            "declined": Row("FAILED", "FAILED", PRICE),
            "late": Row("FAILED", "REFUNDED", PRICE),
        },
        states={"paid": "paid", "declined": "declined", "late": "paid"},
        captures=[("paid", PRICE), ("late", PRICE)],
        refunds=[sent],
        page_refunds=[sent],
    )


def test_nothing_is_wrong(facts):
    assert judge(facts) == []


def test_a_missing_refund_is_found(facts):
    facts.page_refunds.clear()
    assert judge(facts) == [
        "Booking late is FAILED: 20.00 has to go back, and 0 did.",
        "Refund refund of booking late is SENT, and the page does not have it.",
    ]
    facts.refunds.clear()
    assert "20.00 has to go back, and 0 did" in judge(facts)[0]


def test_money_that_was_taken_twice_is_found(facts):
    facts.captures.append(("paid", PRICE))
    assert judge(facts) == ["Booking paid costs 20.00, and 20.00 and 20.00 was taken."]


def test_a_cent_too_much_is_found(facts):
    facts.captures[0] = ("paid", Decimal("20.01"))
    assert judge(facts) == ["Booking paid costs 20.00, and 20.01 was taken."]


def test_a_refund_that_was_sent_twice_is_found(facts):
    again = replace(facts.page_refunds[0], key="another")
    facts.page_refunds.append(again)
    facts.refunds.append(again)
    assert judge(facts) == [
        "Booking late is FAILED: 20.00 has to go back, and 40.00 did.",
        "Booking late was refunded 2 times.",
    ]


def test_a_refund_of_a_confirmed_booking_is_found(facts):
    refund = Sent("another", "paid", PRICE)
    facts.page_refunds.append(refund)
    facts.refunds.append(refund)
    assert judge(facts) == ["Booking paid is CONFIRMED: 0 has to go back, and 20.00 did."]


def test_a_refund_without_a_payment_is_found(facts):
    facts.page_refunds.append(refund := Sent("another", "declined", PRICE))
    assert judge(facts) == [
        "20.00 was sent back for booking declined, and nobody has paid.",
        "The page has refund another of booking declined, and we do not.",
    ]
    facts.refunds.append(refund)
    assert len(judge(facts)) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"paid": Row("PENDING", "PENDING", PRICE)}, "Booking paid is still PENDING"),
        ({"declined": Row("CONFIRMED", "SUCCESS", PRICE)}, "nobody has paid"),
        ({"paid": Row("FAILED", "SUCCESS", PRICE)}, "20.00 has to go back, and 0 did"),
        ({"declined": Row("FAILED", "REFUNDED", PRICE)}, "money was not taken"),
        ({"late": Row("FAILED", "FAILED", PRICE)}, "money was taken"),
    ],
)
def test_a_booking_that_does_not_fit_its_money_is_found(facts, change, sentence):
    facts.bookings |= change
    assert sentence in " ".join(judge(facts))


def test_a_payment_without_a_booking_is_found(facts):
    del facts.bookings["paid"]
    assert judge(facts) == ["Money was taken for paid, which is no booking."]


def test_what_is_not_over_yet_is_found(facts):
    facts.states["left"] = "open"
    facts.slow = 2
    facts.unsent.append(Sent("due", "late", PRICE))
    facts.audit.append("GA of “Bench”: 1 ticket is out of stock.")
    assert judge(facts) == [
        "The payment of booking left can still be made.",
        "The bank has still to take the money of 2 payments.",
        "Refund due of booking late was not sent.",
        "Audit: GA of “Bench”: 1 ticket is out of stock.",
    ]


def test_a_thousand_sentences_are_shortened(facts):
    facts.states |= {str(number): "open" for number in range(1000)}
    assert judge(facts)[-1] == "… and 980 more of this kind."


def soak(home, *arguments, **environment):
    """Run it; returns its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.payments", *arguments],
        cwd=settings.BASE_DIR,
        env=os.environ | {"BENCH_HOME": str(home)} | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=150,
    )
    return done.returncode, done.stdout


def tamper(home, sql):
    with closing(sqlite3.connect(home / "payments" / "payment_page.sqlite3")) as page:
        assert page.execute(sql).rowcount
        page.commit()


@pytest.mark.timeout(240)
def test_two_hundred_payments_end_well_and_a_cent_that_is_missing_shows(open_folder):
    home = open_folder / "soak"
    code, printed = soak(home, PAYMENTS="200", KILLS="1", HOSTED_HOLD_SECONDS="4")
    assert code == 0, printed
    assert "200 bookings in" in printed
    assert "1 workers killed" in printed
    assert printed.splitlines()[-1] == "All is well."

    tamper(
        home,
        "UPDATE capture SET cents = cents + 1 WHERE payment = (SELECT min(payment) FROM capture)",
    )
    code, printed = soak(home, "judge")
    assert code == 1
    assert printed.startswith("WRONG: Booking ")
    assert "was taken" in printed
