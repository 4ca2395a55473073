"""The audit finds and names every kind of difference, and reads one snapshot."""

import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from bookings import audit
from bookings.models import Booking, Refund, Return
from bookings.tests.racing import Stepped
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier():
    concert = ConcertFactory(name="Northern Lights")
    return TicketTierFactory(concert=concert, tier_type="VIP", total_quantity=100)


def sell(user, tier, quantity=1, **fields):
    """Make a paid booking, or one with other fields, and take its tickets out of stock if it holds any."""
    now = timezone.now()
    booking = {
        "unit_price": tier.price,
        "total_price": tier.price * quantity,
        "status": "CONFIRMED",
        "payment_status": "SUCCESS",
        "idempotency_key": uuid.uuid4(),
        "hold_expires_at": now + timedelta(minutes=1),
    } | fields
    with transaction.atomic():
        stock.lock_tier(tier.pk)
        if booking["status"] in {"PENDING", "CONFIRMED"}:
            stock.take(tier, quantity, now=now)
        return Booking.objects.create(user=user, ticket_tier=tier, quantity=quantity, **booking)


def give_back(booking):
    """Write down that the whole booking was returned and its price sent back."""
    refund = Refund.objects.create(
        booking=booking,
        amount=booking.total_price,
        tickets=booking.quantity,
        reason="CANCELLED",
        status="SENT",
        sent_at=timezone.now(),
    )
    Return.objects.create(booking=booking, tickets=booking.quantity, refund=refund)


def drop_constraint(table, name):
    """As an operator might do before a bad import."""
    connection.check_constraints()  # a table with unchecked rows cannot be altered
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def run_command():
    """Run audit_inventory; returns its exit code and its lines."""
    out, code = StringIO(), 0
    try:
        call_command("audit_inventory", stdout=out)
    except SystemExit as exc:
        code = exc.code
    return code, out.getvalue().splitlines()


def everything():
    """Every row of the two tables and its place there, which changes even by an UPDATE to the same values."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ctid::text, xmin::text, t::text FROM concerts_tickettier t UNION ALL "
            "SELECT ctid::text, xmin::text, b::text FROM bookings_booking b ORDER BY 1, 2, 3"
        )
        return cursor.fetchall()


def test_an_empty_system_has_no_difference():
    assert run_command() == (0, ["0 tiers and 0 bookings: no difference."])


def test_holds_and_paid_bookings_are_out_of_stock_and_others_are_not(ann, tier):
    sell(ann, tier, 3)
    sell(ann, tier, 2, status="PENDING", payment_status="PENDING")
    returned = {"returned_quantity": 7, "refunded_total": 7 * tier.price}
    give_back(sell(ann, tier, 7, status="CANCELLED", payment_status="REFUNDED", **returned))
    sell(ann, tier, 5, status="FAILED", payment_status="FAILED", failure_reason="DECLINED")

    tier.refresh_from_db()
    assert tier.available_quantity == 95
    assert run_command() == (0, ["1 tier and 4 bookings: no difference."])


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        (-1, "7 tickets are out of stock, but its bookings hold 6."),
        (5, "1 ticket is out of stock, but its bookings hold 6."),
    ],
)
def test_a_counter_that_moved_without_a_booking_is_named(ann, tier, moved, says):
    sell(ann, tier, 6)
    TicketTier.objects.update(available_quantity=F("available_quantity") + moved)

    assert run_command() == (
        1,
        [f"VIP of “Northern Lights” ({tier.pk}): {says}", "1 difference."],
    )


def test_a_status_that_changed_without_the_counter_is_named(ann, tier):
    sell(ann, tier, 6)
    Booking.objects.update(status="FAILED", payment_status="FAILED", failure_reason="EXPIRED")

    assert audit.audit() == [
        f"VIP of “Northern Lights” ({tier.pk}): "
        "6 tickets are out of stock, but its bookings hold 0."
    ]


def test_tickets_kept_back_are_not_for_sale(ann, tier):
    sell(ann, tier, 6)
    TicketTier.objects.update(kept_back=10, available_quantity=84)
    assert audit.audit() == []

    TicketTier.objects.update(available_quantity=85)
    assert audit.audit() == [
        f"VIP of “Northern Lights” ({tier.pk}): "
        "5 tickets are out of stock, but its bookings hold 6."
    ]


def test_a_returned_ticket_without_its_return_is_named(ann, tier):
    booking = sell(ann, tier, 6)
    Booking.objects.update(returned_quantity=2)
    TicketTier.objects.update(available_quantity=96)

    assert audit.audit() == [
        f"Booking {booking.pk}, VIP of “Northern Lights” ({tier.pk}): "
        "it says that 2 tickets went back, but its returns are 0."
    ]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"refunded_total": 5},
            "it says that 5.00 went back, but its refunds are 0, 0 of them sent, "
            "and its payment status is SUCCESS.",
        ),
        (
            {"refunded_total": 60, "payment_status": "REFUNDED"},
            "it says that 60.00 went back, but its refunds are 60.00, 0 of them sent, "
            "and its payment status is REFUNDED.",
        ),
    ],
)
def test_a_refund_that_is_not_on_the_books_is_named(ann, tier, fields, says):
    booking = sell(ann, tier, 6)
    if "payment_status" in fields:
        Refund.objects.create(booking=booking, amount=60, reason="GOODWILL")
    Booking.objects.update(**fields)

    assert audit.audit() == [f"Booking {booking.pk}, VIP of “Northern Lights” ({tier.pk}): {says}"]


def test_late_money_that_nobody_owes_is_named(ann, tier):
    late = {"status": "FAILED", "payment_status": "SUCCESS", "failure_reason": "EXPIRED"}
    booking = sell(ann, tier, 6, **late)

    assert audit.audit() == [
        f"Booking {booking.pk}, VIP of “Northern Lights” ({tier.pk}): it says that 0.00 went back, "
        "but its refunds are 0, 0 of them sent, and its payment status is SUCCESS."
    ]


def test_an_oversold_tier_is_named_even_if_its_counters_agree(ann):
    tier = TicketTierFactory(total_quantity=10, concert__name="Northern Lights")
    drop_constraint("concerts_tickettier", "tier_available_not_negative")
    sell(ann, tier, 6)
    sell(ann, tier, 6)

    assert audit.audit() == [
        f"General admission of “Northern Lights” ({tier.pk}): "
        "oversold, its bookings hold 12 of 10 tickets."
    ]


def test_bookings_of_a_tier_that_is_gone_are_named(ann, tier):
    sell(ann, tier, 6)
    with connection.cursor() as cursor:
        keys = connection.introspection.get_constraints(cursor, "bookings_booking").items()
    for name, key in keys:
        if key["foreign_key"] == ("concerts_tickettier", "id"):
            drop_constraint("bookings_booking", name)
    TicketTier.objects.filter(pk=tier.pk)._raw_delete(using="default")

    assert audit.audit() == [
        f"A tier that does not exist ({tier.pk}): its bookings hold 6 tickets."
    ]


@pytest.mark.parametrize(
    ("constraint", "bad", "says"),
    [
        (
            "booking_total_is_unit_times_quantity",
            {"total_price": 25},
            "its total price is 25.00, but 3 × 10.00 is 30.00.",
        ),
        (
            "booking_price_not_negative",
            {"unit_price": -10, "total_price": -30},
            "its unit price is -10.00.",
        ),
        (
            "booking_status_pair_allowed",
            {"payment_status": "FAILED"},
            "status CONFIRMED, payment status FAILED and failure reason none do not go together.",
        ),
        (
            "booking_status_pair_allowed",
            {"failure_reason": "EXPIRED"},
            "status CONFIRMED, payment status SUCCESS and failure reason EXPIRED "
            "do not go together.",
        ),
        (
            "booking_status_pair_allowed",
            {"status": "PENDING"},
            "status PENDING, payment status SUCCESS and failure reason none do not go together.",
        ),
    ],
)
def test_a_booking_that_breaks_a_lost_constraint_is_named(ann, tier, constraint, bad, says):
    booking = sell(ann, tier, 3)
    drop_constraint("bookings_booking", constraint)
    Booking.objects.update(**bad)

    assert audit.audit() == [f"Booking {booking.pk}, VIP of “Northern Lights” ({tier.pk}): {says}"]


@pytest.mark.parametrize("quantity", [0, 11])
def test_a_quantity_out_of_range_is_named(ann, tier, quantity):
    drop_constraint("bookings_booking", "booking_quantity_range")
    booking = sell(ann, tier, quantity)

    assert audit.audit() == [
        f"Booking {booking.pk}, VIP of “Northern Lights” ({tier.pk}): "
        f"its quantity is {quantity}, not 1 to 10."
    ]


def test_a_key_used_twice_is_named_with_its_bookings(ann, bob, tier):
    key = uuid.uuid4()
    drop_constraint("bookings_booking", "booking_user_key_unique")
    first = sell(ann, tier, idempotency_key=key)
    second = sell(ann, tier, idempotency_key=key)
    sell(bob, tier, idempotency_key=key)  # another user's key is another key

    assert audit.audit() == [
        f"{ann.email} ({ann.pk}) has 2 bookings under one idempotency key, {key}: "
        f"{first.pk}, {second.pk}."
    ]


def test_a_booking_with_two_faults_is_named_twice(ann, tier):
    sell(ann, tier, 3)
    drop_constraint("bookings_booking", "booking_status_pair_allowed")
    drop_constraint("bookings_booking", "booking_total_is_unit_times_quantity")
    Booking.objects.update(total_price=1, payment_status="FAILED")

    code, lines = run_command()
    assert (code, len(lines), lines[-1]) == (1, 3, "2 differences.")


@pytest.mark.parametrize("tiers", [4, 5])
def test_no_tier_is_left_out_between_two_batches(monkeypatch, ann, tiers):
    monkeypatch.setattr(audit, "BATCH", 2)
    sold = [TicketTierFactory() for _ in range(tiers)]
    for tier in sold:
        sell(ann, tier, 2)
    steps, tally = [], audit.Tally()
    assert list(audit.differences(tally, progress=steps.append)) == []
    assert (tally.tiers, tally.bookings, sum(steps)) == (tiers, tiers, tiers)

    TicketTier.objects.update(available_quantity=99)
    assert [line.split(": ")[1] for line in audit.audit()] == [
        "1 ticket is out of stock, but its bookings hold 2."
    ] * tiers


def test_the_audit_changes_nothing(ann, tier):
    sell(ann, tier, 6)
    TicketTier.objects.update(available_quantity=1)
    before = everything()

    assert run_command()[0] == 1
    assert everything() == before


def test_there_is_no_progress_bar_without_a_terminal(capfd, tier):
    run_command()
    assert capfd.readouterr().err == ""


class TestOnALiveSystem:
    """A booking is committed after the audit has read a counter, and before it adds up bookings."""

    pytestmark = pytest.mark.django_db(transaction=True)

    def sell_while_the_audit_runs(self, ann, tier):
        tally = audit.Tally()
        running = Stepped(
            lambda: list(audit.differences(tally)), after="FROM concerts_tickettier"
        ).wait_until_reached()
        sell(ann, tier, 3)
        return running.finish(), tally.bookings

    def test_a_booking_made_meanwhile_is_no_false_alarm(self, ann, tier):
        assert self.sell_while_the_audit_runs(ann, tier) == ([], 0)
        assert audit.audit() == []

    def test_control_without_the_snapshot_it_is_a_false_alarm(self, monkeypatch, ann, tier):
        monkeypatch.setattr(audit, "_one_snapshot", transaction.atomic)
        differences, bookings = self.sell_while_the_audit_runs(ann, tier)
        assert (len(differences), bookings) == (1, 1)

    def test_the_audit_cannot_write(self):
        with audit._one_snapshot(), connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            assert cursor.fetchone() == ("on",)
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)
