"""The database refuses wrong tickets, whoever writes the SQL."""

import pytest
from django.db import connection

from bookings.models import Booking
from bookings.tests.test_constraints import refused_by, run
from tickets.codes import new_code
from tickets.models import Ticket

pytestmark = pytest.mark.django_db

INSERT = "INSERT INTO tickets_ticket (booking_id, number, code) VALUES (%s, %s, %s)"


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    return book(ann, tier, 2)


@pytest.mark.parametrize("number", [0, 11, -1])
def test_a_number_is_1_to_10(booking, number):
    assert refused_by(INSERT, booking.pk, number, new_code()) == "ticket_number_range"


@pytest.mark.parametrize(
    "code", ["", "7QX49MRT2K8", "7qx4-9mrt-2k8", "7QX4-9MRT-2KU", "OQX4-9MRT-2K8", "7QX4-9MRT-2K"]
)
def test_a_code_has_its_form(booking, code):
    assert refused_by(INSERT, booking.pk, 1, code) == "ticket_code_form"


def test_a_booking_has_each_number_once(booking):
    run(INSERT, booking.pk, 1, new_code())
    assert refused_by(INSERT, booking.pk, 1, new_code()) == "ticket_booking_number_unique"
    run(INSERT, booking.pk, 2, new_code())


def test_no_two_tickets_have_one_code(booking):
    code = new_code()
    run(INSERT, booking.pk, 1, code)
    assert refused_by(INSERT, booking.pk, 2, code) == "ticket_code_unique"


def test_every_rule_and_index_has_a_name_that_we_gave():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class i ON i.oid = indexrelid"
            " WHERE indrelid = 'tickets_ticket'::regclass AND NOT indisprimary"
            " UNION SELECT conname FROM pg_constraint"
            " WHERE conrelid = 'tickets_ticket'::regclass AND contype = 'c'"
        )
        names = {name for (name,) in cursor.fetchall()}
    assert names == {rule.name for rule in Ticket._meta.constraints}


def test_the_search_for_bookings_to_fulfil_uses_its_index(booking):
    run("SET LOCAL enable_seqscan = off")
    plan = Booking.objects.to_fulfil().order_by("pk")[:500].explain()
    assert "booking_to_fulfil" in plan
    assert "Sort" not in plan
