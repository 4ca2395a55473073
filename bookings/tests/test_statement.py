"""After a restore, the gateway's statement is compared with the books."""

import csv
import io
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from bookings.refunding import give_money_back
from ticketbook.postgres import clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def booking(every_payment_succeeds, ann, tier, book):
    return book(ann, tier, 2)


@pytest.fixture
def compare(tmp_path, capsys):
    """Compare a statement of these lines with the books; returns the exit code and the sentences."""

    def act(*lines, columns=("kind", "key", "booking", "amount", "at")):
        file, out = tmp_path / "statement.csv", io.StringIO()
        with open(file, "w", newline="") as text:
            csv.writer(text).writerows([columns, *lines])
        try:
            call_command("compare_statement", str(file), stdout=out)
        except SystemExit as exit:
            return exit.code, out.getvalue().splitlines()
        return 0, out.getvalue().splitlines()

    return act


def charge(booking_id, amount):
    return "charge", booking_id, booking_id, amount, "2026-11-26 19:30"


def refund(key, booking_id, amount):
    return "refund", key, booking_id, amount, "2026-11-26 19:31"


def test_what_the_books_know_is_not_named(booking, compare):
    code, said = compare(charge(booking.pk, booking.total_price))
    assert (code, said) == (
        0,
        ["1 lines of the statement; these books lack or contradict 0 of them."],
    )


def test_a_payment_without_a_booking_is_named_with_what_to_do(booking, compare):
    lost = uuid4()
    code, [sentence, _] = compare(charge(booking.pk, booking.total_price), charge(lost, "20.00"))
    assert code == 1
    assert f"20.00 was taken for booking {lost} at 2026-11-26 19:30" in sentence
    assert "no such booking" in sentence
    assert "Send the money back" in sentence


def test_a_payment_of_a_hold_is_left_to_the_worker(ann, tier, take_hold, compare):
    hold = take_hold(ann, tier, 1)
    code, [sentence, _] = compare(charge(hold.pk, hold.total_price))
    assert code == 1
    assert "Start the worker" in sentence


def test_a_payment_of_another_amount_is_named(booking, compare):
    _, [sentence, _] = compare(charge(booking.pk, booking.total_price + 1))
    assert f"here it costs {booking.total_price}" in sentence


def test_a_payment_of_a_failed_booking_is_named(settings, ann, tier, book, compare):
    settings.PAYMENT_SUCCESS_RATE = 0
    failed = book(ann, tier, 1)
    _, [sentence, _] = compare(charge(failed.pk, failed.total_price))
    assert "FAILED and not paid" in sentence


def test_a_refund_that_the_books_do_not_know_is_named(booking, compare):
    _, [sentence, _] = compare(refund(uuid4(), booking.pk, "5.00"))
    assert "do not know that refund; here the booking is CONFIRMED" in sentence
    assert f"manage.py return_tickets {booking.pk} NUMBER --no-refund" in sentence


def test_a_refund_that_is_still_due_here_needs_nobody(booking, staff, compare):
    made = give_money_back(booking, 5, by=staff, note="sorry", now=clock.ask())
    assert compare(refund(made.pk, booking.pk, "5.00"))[0] == 0
    assert compare(refund(made.pk, booking.pk, "6.00"))[0] == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("charge", "x", "y", "1.00", ""), "line 2: a key or booking is no id"),
        (("charge", uuid4(), uuid4(), "much", ""), "the amount is no number"),
        (("charge", uuid4(), uuid4(), "NaN", ""), "the amount is a number"),
        (("gift", uuid4(), uuid4(), "1.00", ""), "the kind is charge or refund"),
        (("charge", uuid4()), "line 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_that_names_it(compare, line, why):
    with pytest.raises(CommandError, match=why):
        compare(line)


def test_a_file_without_a_column_or_none_at_all_is_an_error(compare, tmp_path):
    with pytest.raises(CommandError, match="no column booking"):
        compare(columns=("kind", "key", "amount", "at"))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("compare_statement", str(tmp_path / "none.csv"))
