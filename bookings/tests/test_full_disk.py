"""A database whose disk is full refuses for a while, and nothing is half done."""

import uuid
from contextlib import contextmanager

import psycopg
import pytest
from django.db import OperationalError, connection

from bookings.audit import audit
from bookings.management.staff_input import if_busy
from bookings.models import Booking
from bookings.tests.api_client import problem
from ticketbook.embedded.binaries import EmbeddedPostgresError
from ticketbook.postgres.base import DatabaseWrapper
from ticketbook.postgres.failures import is_busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]


@contextmanager
def full_disk():
    """New bookings meet the error that PostgreSQL raises when a table cannot grow."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER no_space BEFORE INSERT ON bookings_booking EXECUTE FUNCTION no_space()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION no_space CASCADE")


@pytest.mark.usefixtures("both_ways")
def test_a_full_disk_is_busy_and_the_same_request_succeeds_afterwards(api, tier, left, caplog):
    key = uuid.uuid4()
    with full_disk():
        refused = api.book(tier, 2, key)
    assert problem(refused) == (503, "busy")
    assert refused["Retry-After"]
    assert "could not extend file" in caplog.text  # the operator is told why
    assert (left(tier), Booking.objects.count()) == (100, 0)
    assert api.book(tier, 2, key).status_code == 201
    assert audit() == []


def test_an_embedded_server_that_cannot_start_is_busy(api, monkeypatch, caplog):
    def cannot_start(*args):
        raise EmbeddedPostgresError("The embedded PostgreSQL does not start: no space left.")

    monkeypatch.setattr(DatabaseWrapper, "get_connection_params", cannot_start)
    connection.close()
    assert problem(api.get()) == (503, "busy")
    assert "no space left" in caplog.text


@pytest.mark.parametrize("cause", [psycopg.errors.DiskFull(), psycopg.errors.OutOfMemory()])
def test_staff_are_told_what_is_wrong_with_the_database(cause):
    with pytest.raises(OperationalError) as raised, if_busy("Nothing was changed."):
        raise OperationalError("No space left on device") from cause
    assert is_busy(raised.value)
