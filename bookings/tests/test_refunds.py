"""Every amount that we owe is a row, made in the transaction that owes it, and is sent once."""

import uuid
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings import cancelling, refunding, tasks
from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.gateways.base import GatewayUnavailable
from bookings.models import Booking, MoneyBack, Refund
from bookings.refunding import send_again, send_refunds
from bookings.tests.racing import Stepped

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_queue", "both_modes"),
]


@pytest.fixture
def booking(ledger, ann, tier, book):
    """Five tickets at 10.00."""
    return book(ann, tier, 5)


def give(booking, tickets):
    return_tickets(booking, tickets, key=uuid.uuid4(), now=timezone.now())


def run_job(booking):
    tasks.refund_booking(str(booking.pk))


def jobs():
    return list(ProcrastinateJob.objects.order_by("id").values_list("task_name", flat=True))


def paid(booking):
    return Booking.objects.get(pk=booking.pk).payment_status


def statuses():
    return list(Refund.objects.order_by("id").values_list("status", flat=True))


# --- Owed, then sent ----------------------------------------------------------------------------


def test_a_refund_is_owed_in_the_transaction_that_returns_the_tickets(
    monkeypatch, booking, tier, left
):
    def break_off(**fields):
        raise OperationalError("the server is gone")

    monkeypatch.setattr(cancelling.Return.objects, "create", break_off)
    with pytest.raises(OperationalError):
        give(booking, 2)

    assert (left(tier), statuses(), jobs()) == (95, [], [])
    assert Booking.objects.get().refunded_total == 0
    assert audit() == []


def test_it_is_due_until_the_gateway_has_sent_it(ledger, booking):
    ledger.mode("outage")
    give(booking, 2)

    refund = Refund.objects.get()
    assert (refund.status, refund.sent_at) == ("DUE", None)
    assert booking.money_back == MoneyBack(under_way=Decimal(20))
    assert jobs() == ["bookings.tasks.refund_booking"]
    assert audit() == []

    ledger.mode("approve")
    run_job(booking)
    refund.refresh_from_db()
    assert refund.status == "SENT"
    assert refund.sent_at
    assert Booking.objects.get().money_back == MoneyBack(sent=Decimal(20))
    assert ledger.refunds() == {str(refund.pk): 20}  # its id is the gateway's idempotency key


def test_refunded_means_that_the_whole_price_was_sent(ledger, booking):
    give(booking, 2)
    assert paid(booking) == "SUCCESS"
    ledger.mode("outage")
    give(booking, 3)
    assert (paid(booking), statuses()) == ("SUCCESS", ["SENT", "DUE"])
    assert audit() == []

    ledger.mode("approve")
    run_job(booking)
    assert (paid(booking), statuses()) == ("REFUNDED", ["SENT", "SENT"])
    assert audit() == []


def test_all_that_is_due_is_sent_by_one_job(ledger, booking):
    ledger.mode("outage")
    for tickets in (1, 2, 2):
        give(booking, tickets)
    ledger.mode("approve")
    run_job(booking)

    assert sorted(ledger.refunds().values()) == [10, 20, 20]
    assert (paid(booking), statuses()) == ("REFUNDED", ["SENT"] * 3)


def test_a_job_that_runs_again_sends_nothing_again(ledger, booking):
    give(booking, 2)
    for _ in range(3):
        run_job(booking)
    assert ledger.calls("refund") == 1


def test_a_lost_answer_is_asked_for_again_and_the_money_goes_back_once(
    ledger, monkeypatch, booking
):
    send = refunding.payments.refund

    def lose_the_answer(booking, refund):
        send(booking, refund)
        raise GatewayUnavailable

    with monkeypatch.context() as lossy:
        lossy.setattr(refunding.payments, "refund", lose_the_answer)
        give(booking, 2)
    assert statuses() == ["DUE"]
    run_job(booking)
    assert statuses() == ["SENT"]
    assert (ledger.calls("refund"), ledger.refunded()) == (2, {str(booking.pk): 20})


def test_the_job_fails_while_the_gateway_is_away_so_that_it_is_tried_again(ledger, booking):
    ledger.mode("outage")
    give(booking, 2)
    with pytest.raises(GatewayUnavailable):
        run_job(booking)
    assert statuses() == ["DUE"]


def test_a_lost_job_is_found_by_its_row(ledger, booking):
    ledger.mode("outage")
    give(booking, 2)
    ProcrastinateJob.objects.all()._raw_delete("default")
    tasks.find_owed_refunds(timestamp=0)
    assert jobs() == []  # it is younger than a minute, so its job may be at work

    Refund.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    tasks.find_owed_refunds(timestamp=0)
    assert jobs() == ["bookings.tasks.refund_booking"]


def test_a_busy_booking_is_left_to_the_job_and_the_return_counts(
    ledger, booking, tier, left, impatient
):
    """Whoever returned the tickets must not be told that nothing has changed."""
    impatient("50ms")
    real = refunding.payments.refund
    holders = []

    def lock_meanwhile(of, refund):
        def hold():
            with transaction.atomic():
                refunding.lock_booking(Booking.objects.get(pk=of.pk))

        holders.append(Stepped(hold, after="FOR NO KEY UPDATE").wait_until_reached())
        real(of, refund)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refunding.payments, "refund", lock_meanwhile)
        give(booking, 2)
    holders[0].finish()

    assert (left(tier), statuses()) == (97, ["DUE"])
    run_job(booking)
    assert (statuses(), ledger.refunded()) == (["SENT"], {str(booking.pk): 20})
    assert audit() == []


# --- Two at once --------------------------------------------------------------------------------


def two_that_send_the_last_two_refunds(ledger, booking):
    """The first one stops after it has marked its refund and seen that the other one is not sent yet."""
    ledger.mode("outage")
    give(booking, 2)
    give(booking, 3)
    ledger.mode("approve")
    one, other = Refund.objects.order_by("id")

    def write(refund):
        mine, now = Booking.objects.get(pk=booking.pk), timezone.now()
        refunding._write(mine, refund, now=now, status="SENT", sent_at=now)

    first = Stepped(lambda: write(one), after="AS a FROM bookings_refund").wait_until_reached()
    second = Stepped(lambda: write(other))
    return first, second


def test_two_that_send_the_last_two_refunds_at_once_make_it_refunded(ledger, booking):
    first, second = two_that_send_the_last_two_refunds(ledger, booking)
    second.wait_until_blocked_by(first)
    assert [first.finish(), second.finish()] == [None, None]

    assert (paid(booking), statuses()) == ("REFUNDED", ["SENT", "SENT"])
    assert audit() == []


def test_control_without_the_lock_each_sees_the_others_refund_unsent(monkeypatch, ledger, booking):
    monkeypatch.setattr(refunding, "lock_booking", Booking.refresh_state)
    first, second = two_that_send_the_last_two_refunds(ledger, booking)
    assert [second.finish(), first.finish()] == [None, None]

    assert (paid(booking), statuses()) == ("SUCCESS", ["SENT", "SENT"])
    assert audit() != []


def test_two_that_send_the_same_refund_at_once_send_it_once(ledger, booking):
    ledger.mode("outage")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")

    def send():
        send_refunds(Booking.objects.get(pk=booking.pk), now=timezone.now())

    first = Stepped(send, after="UPDATE bookings_refund").wait_until_reached()
    second = Stepped(send).wait_until_blocked_by(first)
    assert [first.finish(), second.finish()] == [None, None]
    assert (paid(booking), ledger.kept(), ledger.calls("refund")) == ("REFUNDED", {}, 2)
    assert audit() == []


# --- Refused ------------------------------------------------------------------------------------


def test_a_refused_refund_is_kept_for_staff_and_is_not_tried_again(ledger, booking):
    ledger.mode("refuse_refunds")
    give(booking, 5)

    refund = Refund.objects.get()
    assert (refund.status, refund.failure) == ("FAILED", "refunds are refused")
    assert (booking.status, booking.payment_status) == ("CANCELLED", "SUCCESS")
    assert booking.money_back == MoneyBack(refused=Decimal(50))
    run_job(booking)
    tasks.find_owed_refunds(timestamp=0)
    assert ledger.calls("refund") == 0
    assert audit() == []


def test_one_that_is_refused_does_not_keep_back_the_others(ledger, booking):
    Refund.objects.create(booking=booking, amount=60, reason="GOODWILL")  # more than was paid
    Booking.objects.update(refunded_total=20)
    Refund.objects.create(booking=booking, amount=20, reason="GOODWILL")
    run_job(booking)

    assert statuses() == ["FAILED", "SENT"]
    assert ledger.refunded() == {str(booking.pk): 20}


def send_refund_again(refund_id, *, by="staff@example.com", reason="mended"):
    out = StringIO()
    call_command(
        "send_refund_again", str(refund_id), f"--by={by}", f"--reason={reason}", stdout=out
    )
    return out.getvalue()


def test_staff_send_a_refused_refund_again(ledger, booking, staff):
    ledger.mode("refuse_refunds")
    cancel(booking, now=timezone.now())
    refund = Refund.objects.get()
    assert "refused to send $50.00 back: refunds are refused" in send_refund_again(refund.pk)

    ledger.mode("approve")
    said = send_refund_again(refund.pk)
    assert said == f"Booking {booking.pk}, refund {refund.pk}: $50.00 was sent back.\n"
    assert (paid(booking), statuses(), ledger.kept()) == ("REFUNDED", ["SENT"], {})
    assert [entry.get_change_message() for entry in LogEntry.objects.all()] == [
        "Made due again: mended"
    ] * 2
    assert audit() == []


def test_a_refund_that_is_made_due_again_is_sent_by_its_job(ledger, booking, staff):
    ledger.mode("refuse_refunds")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    refund = Refund.objects.get()

    assert send_again(refund, by=staff) is True
    assert send_again(refund, by=staff) is False  # it is due by now
    assert jobs() == ["bookings.tasks.refund_booking"] * 2
    run_job(booking)
    assert statuses() == ["SENT"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "Only a refused refund is sent again. This one is SENT."),
        ({"refund_id": uuid.UUID(int=7)}, f"There is no refund {uuid.UUID(int=7)}."),
        ({"by": "ann@example.com"}, "--by: nobody has the e-mail address"),
        ({"reason": " "}, "--reason is empty"),
    ],
    ids=str,
)
def test_a_refund_that_was_not_refused_is_not_sent_again(ledger, booking, staff, wrong, says):
    cancel(booking, now=timezone.now())
    with pytest.raises(CommandError) as refusal:
        send_refund_again(**({"refund_id": Refund.objects.get().pk} | wrong))
    assert says in str(refusal.value)
    assert ledger.calls("refund") == 1
