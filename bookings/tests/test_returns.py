"""Tickets of a booking go back, all or some: by the customer for their price, by staff as they decide."""

import uuid
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bookings.audit import audit
from bookings.cancelling import cancel, cancel_for_customer, return_tickets
from bookings.errors import (
    IdempotencyKeyReused,
    NotCancellable,
    RequestInProgress,
    TooManyReturned,
)
from bookings.models import Booking, Refund, Return
from bookings.refunding import give_money_back
from bookings.tests.racing import Stepped, race
from concerts.models import Concert

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_modes", "ledger"),
]

NOW = timezone.now()


@pytest.fixture
def booking(ledger, ann, tier, book):
    """Five tickets at 10.00."""
    return book(ann, tier, 5)


def give(booking, tickets, key=None):
    return return_tickets(booking, tickets, key=key or uuid.uuid4(), now=timezone.now())


def state(booking):
    row = Booking.objects.get(pk=booking.pk)
    return row.status, row.payment_status, row.returned_quantity, row.refunded_total


def goodwill(booking, amount, staff):
    return give_money_back(booking, Decimal(amount), by=staff, note="sorry", now=timezone.now())


# --- The customer -------------------------------------------------------------------------------


def test_some_tickets_go_back_and_the_booking_stays(ledger, booking, tier, left):
    assert give(booking, 2) is False

    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)
    assert (booking.returned_quantity, booking.kept_quantity, booking.refundable) == (2, 3, 30)
    assert left(tier) == 97
    assert ledger.refunded() == {str(booking.pk): 20}
    refund = Refund.objects.get()
    assert (refund.reason, refund.tickets, refund.status, refund.made_by) == (
        "PART",
        2,
        "SENT",
        None,
    )
    assert audit() == []


def test_the_last_ones_cancel_it(ledger, booking, tier, left):
    for tickets in (1, 3, 1):
        give(booking, tickets)

    assert state(booking) == ("CANCELLED", "REFUNDED", 5, 50)
    assert left(tier) == 100
    assert ledger.kept() == {}
    assert [r.reason for r in Refund.objects.order_by("id")] == ["PART", "PART", "CANCELLED"]
    assert audit() == []


def test_cancelling_after_a_return_in_part_gives_the_rest(ledger, booking, tier, left):
    give(booking, 2)
    cancel(booking, now=timezone.now())

    assert state(booking) == ("CANCELLED", "REFUNDED", 5, 50)
    assert sorted(ledger.refunds().values()) == [20, 30]
    assert left(tier) == 100
    assert audit() == []


def test_the_same_key_returns_once(ledger, booking, tier, left):
    key = uuid.uuid4()
    assert [give(booking, 2, key) for _ in range(3)] == [False, True, True]

    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)
    assert (left(tier), Return.objects.count(), ledger.calls("refund")) == (97, 1, 1)


def test_a_key_of_a_return_is_answered_after_the_booking_was_cancelled(booking):
    key = uuid.uuid4()
    give(booking, 2, key)
    cancel(booking, now=timezone.now())

    assert give(booking, 2, key) is True
    assert state(booking) == ("CANCELLED", "REFUNDED", 5, 50)


@pytest.mark.parametrize("other", [1, 3])
def test_another_number_under_the_same_key_is_refused(booking, other):
    key = uuid.uuid4()
    give(booking, 2, key)
    with pytest.raises(IdempotencyKeyReused):
        give(booking, other, key)
    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)


def test_a_key_of_some_tickets_does_not_cancel_the_rest(booking):
    key = uuid.uuid4()
    give(booking, 2, key)
    with pytest.raises(IdempotencyKeyReused):
        cancel(booking, key=key, now=timezone.now())
    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)


def test_a_key_belongs_to_one_booking(booking, ann, tier, book):
    other, key = book(ann, tier, 5), uuid.uuid4()
    assert [give(booking, 2, key), give(other, 3, key)] == [False, False]


def test_cancelling_under_a_key_twice_changes_nothing_more(ledger, booking):
    key = uuid.uuid4()
    for _ in range(2):
        cancel(booking, key=key, now=timezone.now())
    assert ledger.calls("refund") == 1
    assert give(booking, 5, key) is True


@pytest.mark.parametrize("tickets", [4, 10, 0, -1])
def test_what_the_booking_does_not_have_cannot_be_returned(booking, tier, left, tickets):
    give(booking, 2)
    with pytest.raises(TooManyReturned) as refusal:
        give(booking, tickets)

    assert refusal.value.facts == {"returnable": 3}
    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)
    assert left(tier) == 97


@pytest.mark.parametrize(
    ("given", "refunds"), [("5.00", [20, 20, 5]), ("15.00", [20, 15, 0]), ("50.00", [0, 0, 0])]
)
def test_after_goodwill_no_more_than_the_price_goes_back(ledger, booking, staff, given, refunds):
    goodwill(booking, given, staff)
    for tickets in (2, 2, 1):
        give(booking, tickets)

    amounts = [row.refund.amount if row.refund else 0 for row in Return.objects.order_by("id")]
    assert amounts == refunds
    assert state(booking) == ("CANCELLED", "REFUNDED", 5, 50)
    assert ledger.kept() == {}
    assert audit() == []


def test_nothing_is_returned_that_is_not_confirmed(ledger, ann, tier, book, take_hold):
    with pytest.raises(RequestInProgress):
        give(take_hold(ann, tier, 2), 1)
    ledger.mode("decline")
    with pytest.raises(NotCancellable):
        give(book(ann, tier, 2), 1)


def test_after_the_concert_has_begun_only_staff_return(booking, staff):
    Concert.objects.update(date=timezone.now() - timedelta(minutes=1))
    with pytest.raises(NotCancellable):
        give(booking, 1)
    by_staff(booking, 1, ["--no-refund"])
    assert state(booking) == ("CONFIRMED", "SUCCESS", 1, 0)


def test_many_returns_at_once_give_no_ticket_back_twice(ledger, booking, tier, left):
    def give_two(i):
        return give(Booking.objects.get(pk=booking.pk), 2)

    assert race(give_two, 8) == {bool: 2, TooManyReturned: 6}
    assert state(booking) == ("CONFIRMED", "SUCCESS", 4, 40)
    assert left(tier) == 99
    assert ledger.kept() == {str(booking.pk): 10}
    assert audit() == []


def test_a_second_return_waits_for_the_first_and_finds_its_key(ledger, booking, tier, left):
    key = uuid.uuid4()
    first = Stepped(lambda: give(booking, 2, key), after="INSERT INTO bookings_return")
    first.wait_until_reached()
    again = Booking.objects.get(pk=booking.pk)
    second = Stepped(lambda: give(again, 2, key)).wait_until_blocked_by(first)

    assert [first.finish(), second.finish()] == [False, True]
    assert left(tier) == 97
    assert ledger.refunded() == {str(booking.pk): 20}
    assert audit() == []


# --- Staff --------------------------------------------------------------------------------------


def by_staff(booking, tickets, options=(), *, by="staff@example.com", reason="ill"):
    out = StringIO()
    pk = getattr(booking, "pk", booking)
    arguments = [str(pk), str(tickets), f"--by={by}", f"--reason={reason}", *options]
    call_command("return_tickets", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("option", "refunded", "says"),
    [
        ([], 20, "$20.00 was sent back."),
        (["--refund=7.50"], Decimal("7.50"), "$7.50 was sent back."),
        (["--no-refund"], 0, "No money goes back."),
        (["--refund=50"], 50, "$50.00 was sent back."),
    ],
)
def test_staff_decide_what_is_refunded(ledger, booking, staff, tier, left, option, refunded, says):
    said = by_staff(booking, 2, option)

    assert said == (
        f"2 of 5 tickets of booking {booking.pk} went back on sale; it keeps 3. {says}\n"
    )
    paid = "REFUNDED" if refunded == 50 else "SUCCESS"
    assert state(booking) == ("CONFIRMED", paid, 2, refunded)
    assert left(tier) == 97
    assert sum(ledger.refunded().values()) == refunded
    row = Return.objects.get()
    assert (row.made_by, row.note, row.tickets) == (staff, "ill", 2)
    if refunded:
        assert (row.refund.made_by, row.refund.note) == (staff, "ill")
    assert audit() == []


def test_staff_may_say_which_tickets_go_back(booking, staff):
    by_staff(booking, 2, ["--tickets", "1, 4"])
    by_staff(booking, 1)

    assert [row.numbers for row in Return.objects.order_by("id")] == [[1, 4], [5]]
    with pytest.raises(CommandError, match=r"--tickets: the booking has the tickets 2, 3\."):
        by_staff(booking, 1, ["--tickets=4"])
    assert state(booking) == ("CONFIRMED", "SUCCESS", 3, 30)
    assert audit() == []


def test_a_return_that_does_not_say_which_took_the_last_ones(booking):
    """As those of the version before."""
    give(booking, 1)
    give(booking, 2)
    Return.objects.update(numbers=[])
    booking.refresh_from_db()
    assert booking.kept_numbers == [1, 2]


def test_all_tickets_without_a_refund_cancel_the_booking_and_the_money_stays(
    ledger, booking, staff
):
    by_staff(booking, 5, ["--no-refund"])

    assert state(booking) == ("CANCELLED", "SUCCESS", 5, 0)
    assert ledger.kept() == {str(booking.pk): 50}
    cancel(booking, now=timezone.now())  # the customer gets no more by asking again
    assert ledger.kept() == {str(booking.pk): 50}
    assert audit() == []


def test_cash_is_handed_over_and_the_gateway_is_not_asked(ledger, booking, staff):
    Booking.objects.update(gateway="cash")

    assert by_staff(booking, 2).endswith("Hand over $20.00 in cash.\n")
    assert ledger.calls("refund") == 0


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("outage", "$20.00 is due; it is sent as soon as the gateway answers."),
        ("refuse_refunds", "The gateway refused to send $20.00 back: refunds are refused"),
    ],
)
def test_staff_are_told_what_the_gateway_did(ledger, booking, staff, tier, left, mode, says):
    ledger.mode(mode)
    assert by_staff(booking, 2).strip().endswith(says)
    assert state(booking) == ("CONFIRMED", "SUCCESS", 2, 20)
    assert left(tier) == 97


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"booking": uuid.UUID(int=7)}, f"There is no booking {uuid.UUID(int=7)}."),
        ({"booking": "mine"}, "There is no booking mine."),
        ({"tickets": 6}, "The booking has 5 tickets left to return."),
        ({"tickets": 0}, "NUMBER must be a whole number from 1 to 10, not “0”."),
        ({"options": ["--refund=50.01"]}, "--refund: 50.00 of the price is left to give back."),
        (
            {"options": ["--refund=0"]},
            "--refund must be an amount of money above 0, like 12.50, not “0”.",
        ),
        ({"options": ["--refund=1.005"]}, "--refund must be an amount of money"),
        ({"options": ["--refund=nan"]}, "--refund must be an amount of money"),
        ({"options": ["--refund=5", "--no-refund"]}, "not allowed with argument --refund"),
        ({"options": ["--tickets=1"]}, "--tickets must name as many tickets as NUMBER says, 2."),
        ({"options": ["--tickets=1,1"]}, "--tickets must name as many tickets as NUMBER says, 2."),
        ({"options": ["--tickets=1,6"]}, "--tickets: the booking has the tickets 1, 2, 3, 4, 5."),
        (
            {"options": ["--tickets=1;2"]},
            "--tickets must be a whole number from 1 to 10, not “1;2”.",
        ),
        ({"by": "no@example.com"}, "--by: nobody has the e-mail address no@example.com."),
        ({"reason": ""}, "--reason is empty: say why."),
    ],
    ids=str,
)
def test_a_refusal_is_a_sentence_and_returns_nothing(booking, staff, wrong, says):
    with pytest.raises(CommandError) as refusal:
        by_staff(**({"booking": booking, "tickets": 2} | wrong))
    assert says in str(refusal.value)
    assert state(booking) == ("CONFIRMED", "SUCCESS", 0, 0)


def test_staff_return_nothing_of_a_booking_that_is_not_confirmed(booking, staff):
    cancel(booking, now=timezone.now())
    says = "Only a confirmed booking has tickets to return. This one is CANCELLED."
    with pytest.raises(CommandError, match=says):
        by_staff(booking, 1)


def test_a_price_that_was_given_back_is_not_given_again(ledger, booking, staff):
    goodwill(booking, "50.00", staff)
    with pytest.raises(CommandError, match="has no money to give back"):
        by_staff(booking, 2, ["--refund=1"])

    cancel_for_customer(booking, 2, refund=None, by=staff, note="ill", now=timezone.now())
    assert state(booking) == ("CONFIRMED", "REFUNDED", 2, 50)
    assert audit() == []
