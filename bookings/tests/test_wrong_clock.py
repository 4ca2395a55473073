"""The clock of a server is ten minutes off. Nothing is sold early, lost or stored by it."""

import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings import tasks
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.tests.api_client import Api, problem
from concerts.tests.factories import TicketTierFactory
from ticketbook.postgres import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]

FIVE, TEN = timedelta(minutes=5), timedelta(minutes=10)
A_SECOND = timedelta(seconds=1)


def database_time():
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


@pytest.fixture(params=[TEN, -TEN], ids=["fast", "slow"])
def off(request, monkeypatch):
    """By how much Python's clocks are off."""
    real_now, real_time = timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: real_now() + request.param)
    monkeypatch.setattr(time, "time", lambda: real_time() + request.param.total_seconds())
    return request.param


@pytest.fixture
def api_of_ann(both_ways, ann):
    # The token is made before the clock is off.
    return Api(ann)


@pytest.fixture
def believing_python(monkeypatch):
    """The control: as it would be if we asked Python's clock."""
    monkeypatch.setattr(clock, "zero", lambda: timezone.now() - timedelta(seconds=time.monotonic()))


def opening_in(delta):
    now = database_time()
    return TicketTierFactory(
        concert__sales_open_at=now + delta, concert__date=now + timedelta(days=30)
    )


def test_no_sale_opens_early(client, api_of_ann, off):
    tier = opening_in(FIVE)
    assert problem(api_of_ann.book(tier)) == (409, "sales_closed")
    assert client.get(f"/api/v1/concerts/{tier.concert_id}").json()["onSale"] is False
    assert client.get("/api/v1/concerts?available=true").json() == []
    assert "Sales open on" in client.get(f"/concerts/{tier.concert_id}/").content.decode()


def test_no_sale_opens_late(client, api_of_ann, off):
    tier = opening_in(-FIVE)
    assert api_of_ann.book(tier).status_code == 201
    assert client.get(f"/api/v1/concerts/{tier.concert_id}").json()["onSale"] is True
    assert len(client.get("/api/v1/concerts?available=true").json()) == 1


def test_these_tests_can_fail(client, api_of_ann, off, believing_python):
    early, late = opening_in(FIVE), opening_in(-FIVE)
    if off > timedelta(0):
        assert api_of_ann.book(early).status_code == 201
    else:
        assert problem(api_of_ann.book(late)) == (409, "sales_closed")


def test_what_the_process_believes_is_put_right_by_the_sale_itself(api_of_ann, monkeypatch):
    # The database has moved to a machine with another clock since the last connection.
    tier = opening_in(FIVE)
    monkeypatch.setattr(clock, "_zero", clock.zero() + TEN)
    assert problem(api_of_ann.book(tier)) == (409, "sales_closed")
    assert abs(clock.now() - database_time()) < A_SECOND


def test_no_hold_expires_early_and_all_expire(ann, tier, take_hold, left, off, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    fresh = take_hold(ann, tier, now=clock.now())
    assert abs(fresh.hold_expires_at - database_time() - timedelta(seconds=60)) < A_SECOND
    overdue = take_hold(ann, tier, now=clock.now() - timedelta(seconds=70))
    tasks.resolve_holds(0)
    fresh.refresh_from_db()
    overdue.refresh_from_db()
    assert (fresh.status, overdue.status) == ("PENDING", "FAILED")
    assert left(tier) == 99


def test_the_next_look_for_a_late_payment_is_planned_by_the_database(
    ledger, ann, tier, take_hold, off, empty_queue
):
    hold = take_hold(ann, tier, now=clock.now() - timedelta(seconds=70))
    tasks.resolve_holds(0)  # the gateway does not know this payment
    tasks.look_for_late_payment(str(hold.pk))
    looks = ProcrastinateJob.objects.filter(task_name="bookings.tasks.look_for_late_payment")
    first, second = looks.order_by("id")
    assert first.scheduled_at is None
    assert abs(second.scheduled_at - database_time() - timedelta(seconds=10)) < A_SECOND


def test_a_token_lives_as_long_as_it_says(client, ann, off):
    ann.set_password("correct horse battery")
    ann.save()
    body = client.post(
        "/api/v1/auth/token",
        {"email": ann.email, "password": "correct horse battery"},
        content_type="application/json",
    ).json()
    expiry = timezone.datetime.fromisoformat(body["expiry"])
    assert abs(expiry - database_time() - timedelta(days=7)) < A_SECOND


TABLES = ["accounts", "concerts", "bookings", "knox"]


def stored_times():
    """Every time in our tables, with its column; those of Django's own and of the queue left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE data_type LIKE 'timestamp%%' AND split_part(table_name, '_', 1) = ANY(%s)",
            [TABLES],
        )
        for table, column in cursor.fetchall():
            cursor.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
            yield from ((f"{table}.{column}", at) for (at,) in cursor.fetchall())


@pytest.fixture
def began(transactional_db):
    return database_time()


def test_every_stored_time_is_the_databases(began, client, admin_client, api, off):
    form = {
        "name": "x", "artist": "y", "venue": "z", "status": "PUBLISHED", "description": "",
        "time_zone": "Europe/Berlin", "date_0": "2099-01-01", "date_1": "20:00",
        "sales_open_at_0": "", "sales_open_at_1": "", "sales_close_at_0": "", "sales_close_at_1": "",
        "ticket_tiers-TOTAL_FORMS": "1", "ticket_tiers-INITIAL_FORMS": "0",
        "ticket_tiers-0-tier_type": "GA", "ticket_tiers-0-price": "10",
        "ticket_tiers-0-total_quantity": "20",
    }  # fmt: skip
    assert admin_client.post("/admin/concerts/concert/add/", form).status_code == 302
    (concert,) = client.get("/api/v1/concerts").json()
    tier = {"ticketTierId": concert["ticketTiers"][0]["id"], "quantity": 2}
    sign_up = {"email": "eve@example.com", "password": "correct horse battery", "name": "Eve"}
    for path, body in [("users", sign_up), ("auth/token", sign_up | {"name": ""})]:
        body = {name: value for name, value in body.items() if value}
        answer = client.post(f"/api/v1/{path}", body, content_type="application/json")
        assert answer.status_code in {200, 201}, answer.content
    booked = api.post(tier | {"idempotencyKey": str(uuid.uuid4())}).json()
    assert api.post({}, f"/{booked['id']}/cancellation").status_code == 200
    cancel(Booking.objects.get(), now=clock.ask())
    end = database_time()

    said_by_staff, by_django = "concerts_concert.date", "accounts_user.last_login"
    # The latter is long past, unless somebody has to wait.
    in_many_ways = {"accounts_attempts.forgotten_at", "accounts_attempts.free_at"}
    ahead = {  # seconds
        "bookings_booking.hold_expires_at": 60,
        "knox_authtoken.expiry": 7 * 86400,
        "accounts_session.expire_date": 14 * 86400,
    }
    checked = set()
    for column, at in stored_times():
        checked.add(column)
        if column not in {said_by_staff, by_django} | in_many_ways:
            assert began < at - timedelta(seconds=ahead.get(column, 0)) < end, column
    assert {"bookings_booking.created_at", "bookings_refund.sent_at", "knox_authtoken.expiry",
            "concerts_tickettier.updated_at", "accounts_user.date_joined"} <= checked  # fmt: skip
