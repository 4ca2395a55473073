"""The database refuses what the code must never do, whoever writes the SQL."""

import uuid

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings.models import Booking, PaymentEvent, Refund, Return
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail

pytestmark = pytest.mark.django_db

OURS = {
    "accounts_user",
    "concerts_concert",
    "concerts_tickettier",
    "bookings_booking",
    "bookings_refund",
    "bookings_return",
    "bookings_paymentevent",
    "mail_mail",
}
MODELS = [User, Concert, TicketTier, Booking, Refund, Return, PaymentEvent, Mail]


def refused_by(sql, *params):
    """The name of the constraint that refuses the statement."""
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        run(sql, *params)
    return error.value.__cause__.diag.constraint_name


def run(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def change_tier(tier, assignment):
    return refused_by(f"UPDATE concerts_tickettier SET {assignment} WHERE id = %s", tier.pk)


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("available_quantity = -1", "tier_available_not_negative"),
        ("available_quantity = total_quantity + 1", "tier_available_within_total"),
        ("total_quantity = available_quantity - 1", "tier_available_within_total"),
        ("price = -0.01", "tier_price_not_negative"),
        ("price = 10000000", "tier_price_bookable"),
        ("tier_type = 'BALCONY'", "tier_type_known"),
        ("kept_back = -1", "tier_kept_not_negative"),
        ("kept_back = 1", "tier_available_within_total"),
        ("max_per_customer = 0", "tier_max_per_customer_positive"),
    ],
)
def test_a_wrong_tier_is_refused(assignment, constraint):
    assert change_tier(TicketTierFactory(), assignment) == constraint


def test_a_concert_has_one_tier_of_a_type():
    vip = TicketTierFactory(tier_type="VIP")
    ga = TicketTierFactory(tier_type="GA", concert=vip.concert)
    assert change_tier(ga, "tier_type = 'VIP'") == "tier_concert_type_unique"


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("status = 'POSTPONED'", "concert_status_known"),
        (
            "sales_open_at = now(), sales_close_at = now() - interval '1 hour'",
            "concert_sales_open_before_close",
        ),
        ("sales_open_at = now(), sales_close_at = now()", "concert_sales_open_before_close"),
        ("sales_open_at = date", "concert_sales_open_before_it_begins"),
        ("date = now(), sales_open_at = now()", "concert_sales_open_before_it_begins"),
        ("time_zone = ''", "concert_time_zone_form"),
        ("time_zone = 'EST5EDT'", "concert_time_zone_form"),
    ],
)
def test_a_wrong_concert_is_refused(assignment, constraint):
    concert = TicketTierFactory().concert
    sql = f"UPDATE concerts_concert SET {assignment} WHERE id = %s"
    assert refused_by(sql, concert.pk) == constraint


def test_sales_up_to_the_beginning_are_accepted():
    concert = TicketTierFactory().concert
    run(
        "UPDATE concerts_concert SET sales_open_at = date - interval '1 microsecond', sales_close_at = date"
        " WHERE id = %s",
        concert.pk,
    )


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("email", "Ann@example.com", "user_email_lowercase"),
        ("email", "bob@example.com", "user_email_unique"),
        ("public_id", "user_bob", "user_public_id_unique"),
    ],
)
def test_a_wrong_user_is_refused(column, value, constraint):
    ann = UserFactory()
    UserFactory(email="bob@example.com", public_id="user_bob")
    sql = f"UPDATE accounts_user SET {column} = %s WHERE id = %s"
    assert refused_by(sql, value, ann.pk) == constraint


def insert_booking(**changes):
    """The INSERT of a valid booking with these changes, and its parameters."""
    row = {
        "user_id": changes.pop("user_id", None) or UserFactory().pk,
        "ticket_tier_id": TicketTierFactory().pk,
        "quantity": 2,
        "unit_price": 10,
        "total_price": 20,
        "status": "PENDING",
        "payment_status": "PENDING",
        "failure_reason": "",
        "idempotency_key": uuid.uuid4(),
        "hold_expires_at": "now",
    } | changes
    places = ", ".join(["%s"] * len(row))
    return f"INSERT INTO bookings_booking ({', '.join(row)}) VALUES ({places})", *row.values()


PAID = {"status": "CONFIRMED", "payment_status": "SUCCESS"}


def test_a_valid_booking_is_taken_and_gets_its_key_from_the_database():
    run(*insert_booking())
    assert Booking.objects.get().pk.version == 7


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"quantity": 0, "total_price": 0}, "booking_quantity_range"),
        ({"quantity": 11, "total_price": 110}, "booking_quantity_range"),
        ({"quantity": -1, "total_price": -10}, "booking_quantity_range"),
        ({"total_price": 19.99}, "booking_total_is_unit_times_quantity"),
        ({"unit_price": -10, "total_price": -20}, "booking_price_not_negative"),
        ({"gateway": ""}, "booking_gateway_named"),
        ({"source": "FRIEND"}, "booking_source_known"),
        ({"returned_quantity": 1}, "booking_status_returned"),
        ({**PAID, "returned_quantity": -1}, "booking_returned_range"),
        ({**PAID, "returned_quantity": 3}, "booking_returned_range"),
        ({**PAID, "returned_quantity": 2}, "booking_status_returned"),
        ({**PAID, "status": "CANCELLED", "returned_quantity": 1}, "booking_status_returned"),
        ({"refunded_total": 1}, "booking_status_refunded"),
        ({**PAID, "refunded_total": -1}, "booking_refunded_range"),
        ({**PAID, "refunded_total": 20.01}, "booking_refunded_range"),
        ({**PAID, "payment_status": "REFUNDED"}, "booking_status_refunded"),
    ],
)
def test_a_wrong_booking_is_refused(changes, constraint):
    assert refused_by(*insert_booking(**changes)) == constraint


ALLOWED = {
    ("PENDING", "PENDING", ""),
    ("CONFIRMED", "SUCCESS", ""),
    ("CONFIRMED", "REFUNDED", ""),
    ("FAILED", "FAILED", "DECLINED"),
    ("FAILED", "FAILED", "EXPIRED"),
    ("FAILED", "SUCCESS", "EXPIRED"),
    ("FAILED", "REFUNDED", "EXPIRED"),
    ("CANCELLED", "SUCCESS", ""),
    ("CANCELLED", "REFUNDED", ""),
}


@pytest.mark.parametrize("status", ["PENDING", "CONFIRMED", "FAILED", "CANCELLED", "LOST"])
@pytest.mark.parametrize("payment", ["PENDING", "SUCCESS", "FAILED", "REFUNDED", "LOST"])
@pytest.mark.parametrize("reason", ["", "DECLINED", "EXPIRED", "LOST"])
def test_only_allowed_combinations_of_status_are_taken(status, payment, reason):
    booking = insert_booking(
        status=status,
        payment_status=payment,
        failure_reason=reason,
        returned_quantity=2 if status == "CANCELLED" else 0,
        refunded_total=20 if payment == "REFUNDED" else 0,
    )
    if (status, payment, reason) in ALLOWED:
        run(*booking)
    else:
        assert refused_by(*booking) == "booking_status_pair_allowed"


def test_a_users_key_is_used_once():
    ann, key = UserFactory(), uuid.uuid4()
    run(*insert_booking(user_id=ann.pk, idempotency_key=key))
    again = insert_booking(user_id=ann.pk, idempotency_key=key)
    assert refused_by(*again) == "booking_user_key_unique"
    run(*insert_booking(idempotency_key=key))  # another user's


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("amount = 0", "refund_amount_positive"),
        ("tickets = -1", "refund_tickets_range"),
        ("tickets = 11", "refund_tickets_range"),
        ("reason = 'WHIM'", "refund_reason_known"),
        ("status = 'LOST'", "refund_sent_has_time"),
        ("status = 'SENT'", "refund_sent_has_time"),
        ("sent_at = now()", "refund_sent_has_time"),
    ],
)
def test_a_wrong_refund_is_refused(assignment, constraint):
    run(*insert_booking())
    refund = Refund.objects.create(booking=Booking.objects.get(), amount=5, reason="GOODWILL")
    assert (
        refused_by(f"UPDATE bookings_refund SET {assignment} WHERE id = %s", refund.pk)
        == constraint
    )


@pytest.mark.parametrize("tickets", [0, -1, 11])
def test_a_return_is_of_one_to_ten_tickets(tickets):
    run(*insert_booking())
    sql = "INSERT INTO bookings_return (booking_id, tickets) VALUES (%s, %s)"
    assert refused_by(sql, Booking.objects.get().pk, tickets) == "return_tickets_range"


@pytest.mark.parametrize("numbers", ["{1}", "{1,2,3}"])
def test_a_return_names_as_many_tickets_as_it_is_of(numbers):
    run(*insert_booking())
    sql = "INSERT INTO bookings_return (booking_id, tickets, numbers) VALUES (%s, 2, %s)"
    booking = Booking.objects.get()
    assert refused_by(sql, booking.pk, numbers) == "return_numbers_match"
    run(sql, booking.pk, "{2,1}")
    run(sql, booking.pk, "{}")


def test_a_key_returns_tickets_of_a_booking_once():
    run(*insert_booking())
    booking, key = Booking.objects.get(), uuid.uuid4()
    sql = "INSERT INTO bookings_return (booking_id, tickets, idempotency_key) VALUES (%s, 1, %s)"
    run(sql, booking.pk, key)
    assert refused_by(sql, booking.pk, key) == "return_booking_key_unique"


def test_a_gateways_event_is_noted_once():
    sql = (
        "INSERT INTO bookings_paymentevent (gateway, event_id, type, claim, found)"
        " VALUES (%s, 'one', 'paid', '', '')"
    )
    run(sql, "bank")
    assert refused_by(sql, "bank") == "payment_event_unique"
    run(sql, "card")  # another gateway's


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_made_by_the_database(model):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_default FROM information_schema.columns"
            " WHERE table_name = %s AND column_name = 'id'",
            [model._meta.db_table],
        )
        assert cursor.fetchone() == ("uuidv7()",)


def test_every_check_and_index_has_a_name_that_we_gave():
    """The database has the checks and indexes that the models declare, under those names, and no others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, i.relname FROM pg_index x"
            " JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid"
            " WHERE c.relname = ANY(%s) AND NOT indisprimary"
            " UNION SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE conrelid::regclass::text = ANY(%s) AND contype = 'c'",
            [list(OURS), list(OURS)],
        )
        names = {name for _, name in cursor.fetchall()}
    declared = {
        rule.name for model in MODELS for rule in [*model._meta.constraints, *model._meta.indexes]
    }
    assert names == declared


def test_the_tiers_table_has_room_and_no_index_on_what_changes():
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'concerts_tickettier'")
        assert set(cursor.fetchone()[0]) == {
            "fillfactor=50",
            "autovacuum_vacuum_scale_factor=0",
            "autovacuum_vacuum_threshold=5000",
            "vacuum_truncate=off",
        }
        cursor.execute(
            "SELECT count(*) FROM pg_indexes WHERE tablename = 'concerts_tickettier'"
            " AND indexdef LIKE '%available_quantity%'"
        )
        assert cursor.fetchone()[0] == 0
