"""Goodwill: staff give money of a booking back, and the customer keeps the tickets."""

import uuid
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import NothingToRefund, RefundTooLarge
from bookings.models import Booking, Refund, Return
from bookings.refunding import give_money_back
from bookings.tests.racing import Stepped

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


@pytest.fixture
def booking(ledger, ann, tier, book):
    """Five tickets at 10.00."""
    return book(ann, tier, 5)


def goodwill(booking, amount, staff):
    return give_money_back(booking, Decimal(amount), by=staff, note="sorry", now=timezone.now())


def refund(booking_id, amount, *, by="staff@example.com", reason="rain"):
    out = StringIO()
    arguments = [str(booking_id), str(amount), f"--by={by}", f"--reason={reason}"]
    call_command("refund", *arguments, stdout=out)
    return out.getvalue()


def test_goodwill_gives_money_back_and_the_tickets_stay(ledger, booking, staff, tier, left):
    said = refund(booking.pk, "12.50")

    row = Refund.objects.get()
    assert said == f"Booking {booking.pk}, refund {row.pk}: $12.50 was sent back.\n"
    assert (row.reason, row.tickets, row.made_by, row.note) == ("GOODWILL", 0, staff, "rain")
    assert (left(tier), Return.objects.count()) == (95, 0)
    assert ledger.kept() == {str(booking.pk): Decimal("37.50")}
    assert audit() == []


def test_the_whole_price_as_goodwill_leaves_the_booking_confirmed(ledger, booking, staff):
    refund(booking.pk, "20")
    refund(booking.pk, "30")

    booking.refresh_from_db()
    assert (booking.status, booking.payment_status) == ("CONFIRMED", "REFUNDED")
    assert ledger.kept() == {}
    assert audit() == []


def test_goodwill_after_a_return_without_a_refund(ledger, booking, staff):
    call_command("return_tickets", str(booking.pk), "5", "--no-refund", "--by=staff@example.com",
                 "--reason=late", stdout=StringIO())  # fmt: skip
    refund(booking.pk, "50.00")
    booking.refresh_from_db()
    assert (booking.status, booking.payment_status) == ("CANCELLED", "REFUNDED")
    assert audit() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"amount": "50.01"}, "AMOUNT: 50.00 of the price is left to give back."),
        ({"amount": "0"}, "AMOUNT must be an amount of money above 0, like 12.50, not “0”."),
        ({"amount": "1.005"}, "AMOUNT must be an amount of money above 0"),
        ({"amount": "ten"}, "AMOUNT must be an amount of money above 0"),
        ({"booking_id": uuid.UUID(int=7)}, f"There is no booking {uuid.UUID(int=7)}."),
        ({"by": "no@example.com"}, "--by: nobody has the e-mail address no@example.com."),
        ({"reason": ""}, "--reason is empty: say why."),
    ],
    ids=str,
)
def test_a_refusal_is_a_sentence_and_gives_nothing(ledger, booking, staff, wrong, says):
    with pytest.raises(CommandError) as refusal:
        refund(**({"booking_id": booking.pk, "amount": "5"} | wrong))
    assert says in str(refusal.value)
    assert ledger.refunded() == {}
    assert not Refund.objects.exists()


@pytest.mark.parametrize("amount", ["0", "-1", "30.01"])
def test_a_refund_is_never_larger_than_what_is_left_of_the_price(booking, staff, amount):
    goodwill(booking, "20", staff)
    with pytest.raises(RefundTooLarge) as refusal:
        goodwill(booking, amount, staff)
    assert refusal.value.facts == {"refundable": "30.00"}


def test_what_was_not_paid_is_not_refunded(ledger, ann, tier, book, booking, staff):
    ledger.mode("decline")
    with pytest.raises(NothingToRefund):
        goodwill(book(ann, tier), "1", staff)
    cancel(booking, now=timezone.now())
    with pytest.raises(CommandError, match="The booking has no money to give back"):
        refund(booking.pk, "1")


def test_goodwill_and_a_cancellation_at_once_give_the_price_back_once(ledger, booking, staff):
    first = Stepped(lambda: goodwill(booking, "20", staff), after="INSERT INTO bookings_refund")
    first.wait_until_reached()
    mine = Booking.objects.get(pk=booking.pk)
    second = Stepped(lambda: cancel(mine, now=timezone.now())).wait_until_blocked_by(first)

    assert first.finish().amount == 20
    assert second.finish().status == "CANCELLED"
    assert sorted(ledger.refunds().values()) == [20, 30]
    mine.refresh_from_db()
    assert (mine.payment_status, ledger.kept()) == ("REFUNDED", {})
    assert audit() == []
