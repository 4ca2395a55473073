"""Connections that live long: a migration makes their statements stale, or the database ends them."""

import asyncio
import threading

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from bookings import payments
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.jobs import defer
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.tests.jam import kinds
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from bookings.wishes import Held
from ticketbook.postgres.failures import is_busy
from ticketbook.postgres.statements import execute_prepared
from ticketbook.tests.running import manage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


def elsewhere(sql, params=None):
    """Execute it on another connection."""

    def run():
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)


@pytest.fixture
def widened():
    """`widened(table, column, usual)` makes a column wider, as a migration would, until the test ends."""
    done = []

    def widen(table, column, usual):
        done.append((table, column, usual))
        elsewhere(f"ALTER TABLE {table} ALTER {column} TYPE varchar(300)")

    yield widen
    for table, column, usual in done:
        elsewhere(f"ALTER TABLE {table} ALTER {column} TYPE varchar({usual})")


def hang_up():
    """The database ends our session, as when it restarts."""
    elsewhere("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])


def hang_up_all():
    elsewhere(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
    )


def test_a_token_is_found_after_a_migration_of_the_users(ann, widened):
    client = Client(headers={"Authorization": f"Token {AuthToken.objects.create(ann)[1]}"})
    assert client.get("/api/v1/bookings").status_code == 200
    widened("accounts_user", "name", 150)
    assert [client.get("/api/v1/bookings").status_code for _ in range(3)] == [200] * 3


def test_tickets_are_held_after_a_migration_of_the_concerts(ann, tier, widened):
    assert isinstance(hold(wish(ann, tier)), Held)
    widened("concerts_concert", "time_zone", 64)
    assert kinds([hold(wish(ann, tier)) for _ in range(3)]) == [Held] * 3
    assert audit() == []


def test_a_customer_who_paid_while_the_server_hung_up_is_confirmed(ann, tier, book, monkeypatch):
    async def charge(booking):
        await asyncio.to_thread(hang_up_all)
        return Outcome.SUCCEEDED

    monkeypatch.setattr(payments, "acharge", charge)
    booking = book(ann, tier)
    assert booking.status == "CONFIRMED"
    connection.close()
    booking.refresh_from_db()
    assert booking.status == "CONFIRMED"
    assert audit() == []


def test_a_connection_that_died_between_two_requests_is_replaced(ann):
    execute_prepared("SELECT 1", [])
    hang_up()
    connection.health_check_done = False  # as at the start of a request
    assert execute_prepared("SELECT 1", []).fetchone() == (1,)


def test_statements_that_read_bookings_are_planned_each_time(ann, tier, book, settings):
    """A prepared plan would still be the one for a small table when the table has grown."""
    settings.BOOKING_LANES = False  # so that they run on our connection
    connection.close()
    for _ in range(3):
        book(ann, tier)
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor.fetchall()]
    assert any("FOR NO KEY UPDATE" in statement for statement in prepared)
    assert not [s for s in prepared if "bookings_booking" in s and "INSERT INTO" not in s]


# --- A process that stands still ------------------------------------------------------------------


def test_a_process_that_stands_still_gives_its_tier_free(ledger, ann, bob, tier, book, left):
    """Its machine froze in the middle of a cancellation. The next buyer does not wait for it for ever."""
    options = connections["default"].settings_dict["OPTIONS"]
    booking, usual = book(ann, tier), options["options"]
    options["options"] += " -c idle_in_transaction_session_timeout=500ms"
    try:
        frozen = Stepped(
            lambda: cancel(Booking.objects.get(pk=booking.pk), now=timezone.now()),
            after="FOR NO KEY UPDATE",
        ).wait_until_reached()
    finally:
        options["options"] = usual
    assert book(bob, tier).status == "CONFIRMED"
    assert is_busy(frozen.finish())  # when it wakes up
    assert left(tier) == 98
    assert audit() == []


def test_the_settings_bound_how_long_a_transaction_may_stand_still():
    shown = manage("shell", "-c", SHOW).stdout.split()
    assert shown[-1] == "10s"


SHOW = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW idle_in_transaction_session_timeout")
    print(*cursor.fetchone())
"""


def test_a_connection_that_dies_while_a_job_is_put_on_the_queue_counts_as_busy(book, ann, tier):
    """A chaos run found that a cancellation was then answered 500, not 503."""
    booking = book(ann, tier)

    def owe_and_lose_the_connection():
        with transaction.atomic():
            Booking.objects.select_for_update().get(pk=booking.pk)
            hang_up()
            defer("refund_booking", booking)

    with pytest.raises(OperationalError) as caught:
        owe_and_lose_the_connection()
    assert is_busy(caught.value)
