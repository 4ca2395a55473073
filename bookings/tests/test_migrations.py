"""A database of the version before keeps its bookings, and gets the rows of their returns and refunds."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from bookings import booking_lanes, tasks
from bookings.audit import audit
from bookings.models import BEFORE_TICKETS, Booking, Refund, Return
from concerts.models import Concert, TicketTier

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("bookings", "0001_initial"), ("concerts", "0003_tier_vacuum")]
GATEWAY = "bookings.tests.gateway.HttpGateway"
NOW = timezone.now()

# Status, payment status, failure reason, quantity and price of one ticket.
OLD = {
    "a hold": ("PENDING", "PENDING", "", 1, 10),
    "confirmed": ("CONFIRMED", "SUCCESS", "", 2, 10),
    "confirmed and free": ("CONFIRMED", "SUCCESS", "", 3, 0),
    "declined": ("FAILED", "FAILED", "DECLINED", 4, 10),
    "expired": ("FAILED", "FAILED", "EXPIRED", 5, 10),
    "late, owed": ("FAILED", "SUCCESS", "EXPIRED", 6, 10),
    "late, sent": ("FAILED", "REFUNDED", "EXPIRED", 7, 10),
    "cancelled, owed": ("CANCELLED", "SUCCESS", "", 8, 10),
    "cancelled, sent": ("CANCELLED", "REFUNDED", "", 9, 10),
    "cancelled and free": ("CANCELLED", "SUCCESS", "", 10, 0),
    "cancelled and free, refunded": ("CANCELLED", "REFUNDED", "", 1, 0),
}
HELD = 1 + 2 + 3


def migrate(targets):
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


def newest():
    return MigrationExecutor(connection).loader.graph.leaf_nodes()


@pytest.fixture
def old(settings):
    """The models of the version before, on its tables. Whatever happens, the tables of now come back."""
    booking_lanes.stop()
    try:
        yield migrate(BEFORE)
    finally:
        settings.PAYMENT_GATEWAY, settings.PAYMENT_GATEWAYS, settings.PAYMENT_DEFAULT = "", {}, ""
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE bookings_booking, concerts_concert, accounts_user CASCADE")
        migrate(BEFORE)
        migrate(newest())


@pytest.fixture
def bookings(old):
    """The ids of bookings of every state, by name; all of one tier."""
    tier = old.get_model("concerts", "TicketTier").objects.create(
        concert=old.get_model("concerts", "Concert").objects.create(
            name="Northern Lights", artist="The Testers", venue="Town Hall",
            date=NOW + timedelta(days=30), status="PUBLISHED",
        ),
        tier_type="GA", price=10, total_quantity=100, available_quantity=100 - HELD,
    )  # fmt: skip
    user = old.get_model("accounts", "User").objects.create(email="ann@example.com", name="Ann")
    make = old.get_model("bookings", "Booking").objects.create
    return {
        name: make(
            user=user, ticket_tier=tier, quantity=quantity, unit_price=price,
            total_price=price * quantity, status=status, payment_status=payment,
            failure_reason=reason, idempotency_key=uuid.uuid4(), hold_expires_at=NOW,
        ).pk
        for name, (status, payment, reason, quantity, price) in OLD.items()
    }  # fmt: skip


def test_the_books_agree_and_every_booking_keeps_its_state(bookings):
    migrate(newest())

    assert audit() == []
    tier = TicketTier.objects.get()
    assert (tier.total_quantity, tier.kept_back, tier.available_quantity) == (100, 0, 100 - HELD)
    for name, pk in bookings.items():
        booking = Booking.objects.get(pk=pk)
        status, payment, reason, quantity, price = OLD[name]
        if name == "cancelled and free":  # nothing is owed for it
            payment = "REFUNDED"
        assert (booking.status, booking.payment_status, booking.failure_reason) == (
            status, payment, reason,
        )  # fmt: skip
        assert (booking.quantity, booking.total_price) == (quantity, quantity * price)
        assert booking.source == "ONLINE"
        # Nobody is mailed about an old booking. A hold will be confirmed by this version.
        assert booking.fulfilled_at == (None if name == "a hold" else BEFORE_TICKETS)
    assert not Booking.objects.to_fulfil().exists()


def test_what_was_cancelled_or_late_gets_its_returns_and_refunds(bookings):
    migrate(newest())

    names = {pk: name for name, pk in bookings.items()}
    refunds = {
        names[refund.booking_id]: (refund.status, refund.reason, refund.amount, refund.tickets)
        for refund in Refund.objects.all()
    }
    assert refunds == {
        "late, owed": ("DUE", "LATE", 60, 0),
        "late, sent": ("SENT", "LATE", 70, 0),
        "cancelled, owed": ("DUE", "CANCELLED", 80, 8),
        "cancelled, sent": ("SENT", "CANCELLED", 90, 9),
    }
    returned = {
        names[row.booking_id]: (row.tickets, bool(row.refund)) for row in Return.objects.all()
    }
    assert returned == {
        "cancelled, owed": (8, True),
        "cancelled, sent": (9, True),
        "cancelled and free": (10, False),
        "cancelled and free, refunded": (1, False),
    }


def test_an_owed_refund_keeps_the_key_under_which_it_may_have_been_sent(bookings):
    migrate(newest())

    for name in ("late, owed", "cancelled, owed"):
        refund = Refund.objects.get(booking=bookings[name])
        assert refund.pk == uuid.uuid5(bookings[name], "refund")
        tasks.refund_booking(
            str(bookings[name])
        )  # a job that the version before has put on the queue
        refund.refresh_from_db()
        assert (refund.status, refund.booking.payment_status) == ("SENT", "REFUNDED")
    assert audit() == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "simulated"),
        ({"PAYMENT_DEFAULT": "hosted"}, "simulated"),
        ({"PAYMENT_GATEWAY": GATEWAY}, "main"),
        ({"PAYMENT_GATEWAY": GATEWAY, "PAYMENT_DEFAULT": "hosted"}, "main"),
        ({"PAYMENT_GATEWAYS": {"bank": GATEWAY}}, "bank"),
    ],
    ids=str,
)
def test_old_bookings_get_the_gateway_that_took_their_money(settings, bookings, changes, name):
    for setting, value in changes.items():
        setattr(settings, setting, value)
    migrate(newest())

    assert set(Booking.objects.values_list("gateway", flat=True)) == {name}


def test_sales_times_that_are_refused_now_are_mended_and_sell_what_they_sold(settings, old):
    settings.TIME_ZONE = "Asia/Tokyo"  # for new concerts only
    begins, hour, moment = NOW + timedelta(days=30), timedelta(hours=1), timedelta(microseconds=1)
    times = {
        "opens too late": (begins, None),
        "opens and closes too late": (begins + hour, begins + 2 * hour),
        "closes late": (NOW, begins + hour),
        "as it should be": (NOW, begins),
        "no times": (None, None),
    }
    make = old.get_model("concerts", "Concert").objects.create
    for name, (opens, closes) in times.items():
        make(
            name=name, artist="The Testers", venue="Town Hall", date=begins, status="PUBLISHED",
            sales_open_at=opens, sales_close_at=closes,
        )  # fmt: skip
    migrate(newest())

    assert set(Concert.objects.values_list("time_zone", flat=True)) == {"UTC"}
    mended = {c.name: (c.sales_open_at, c.sales_close_at) for c in Concert.objects.all()}
    assert mended == times | {
        "opens too late": (begins - moment, None),
        "opens and closes too late": (begins - moment, begins + 2 * hour),
    }


def test_a_process_of_the_version_before_can_still_book(settings, old, bookings):
    settings.PAYMENT_GATEWAY = GATEWAY
    migrate(newest())
    confirmed = Booking.objects.get(pk=bookings["confirmed"])
    made = old.get_model("bookings", "Booking").objects.create(
        user_id=confirmed.user_id, ticket_tier_id=confirmed.ticket_tier_id, quantity=1, unit_price=10,
        total_price=Decimal(10), idempotency_key=uuid.uuid4(), hold_expires_at=NOW,
    )  # fmt: skip
    TicketTier.objects.update(available_quantity=100 - HELD - 1)

    booking = Booking.objects.get(pk=made.pk)
    assert (booking.gateway, booking.source, booking.returned_quantity) == ("main", "ONLINE", 0)
    assert audit() == []
