"""On 10,000 tiers and a million bookings every query finds its index, and the audit takes seconds."""

import json
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from bookings import audit
from bookings.models import Booking
from bookings.resolving import claim
from bookings.tests.wishing import wish
from bookings.tier_transaction import bookings_of_keys, send_keys
from concerts.models import Concert, TicketTier
from concerts.search import search
from demo import bulk
from ticketbook.zones import local

pytestmark = [pytest.mark.django_db, pytest.mark.large, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def catalogue(django_db_setup, django_db_blocker):
    """Loaded once and committed. No test here may be transactional, because Django would flush it then."""
    with django_db_blocker.unblock():
        bulk.load_bulk(concerts=3334, bookings=1_000_000)
        bulk.vacuum()
        yield
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE bookings_booking, concerts_concert, accounts_user CASCADE")


@pytest.fixture
def customer():
    return User.objects.get(email=f"visitor5000{bulk.CUSTOMER_DOMAIN}")


@pytest.fixture
def tier():
    return TicketTier.objects.filter(tier_type="GA").order_by("pk")[1667]


@contextmanager
def planned():
    """Yields a set that gets (kind of scan, index) of all plans for the queries made inside."""
    scans = set()

    def explain(execute, sql, params, many, context):
        if sql.lstrip().startswith("SELECT"):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                plan = cursor.fetchone()[0]
            note(json.loads(plan)[0]["Plan"] if isinstance(plan, str) else plan[0]["Plan"])
        return execute(sql, params, many, context)

    def note(node):
        if "Scan" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan":
            scans.add((node["Node Type"], node.get("Index Name")))
        if "Sort" in node["Node Type"]:
            scans.add((node["Node Type"], None))
        for child in node.get("Plans", []):
            note(child)

    with connection.execute_wrapper(explain):
        yield scans


def test_there_are_ten_thousand_tiers_and_a_million_bookings():
    assert TicketTier.objects.count() >= 10_000
    assert Booking.objects.count() == 1_000_000


def test_my_bookings_come_in_order_from_their_index(customer):
    with planned() as scans:
        bookings = list(Booking.objects.of(customer).newest_first()[:50])

    assert len(bookings) == 50
    assert scans == {("Index Scan", "booking_user_newest")}


def test_the_next_page_of_my_bookings_comes_from_its_index_too(customer):
    last = Booking.objects.of(customer).newest_first()[49]
    with planned() as scans:
        assert list(Booking.objects.of(customer).newest_first().filter(id__lt=last.pk)[:50])

    assert scans == {("Index Scan", "booking_user_newest")}


def test_a_key_is_looked_up_in_the_unique_index(customer):
    booking = Booking.objects.of(customer).first()
    again = wish(customer, booking.ticket_tier, booking.quantity, booking.idempotency_key)
    with planned() as scans:
        assert bookings_of_keys(send_keys([again])) == {again.identity: booking}

    # The function scan is of the array of keys.
    assert scans == {("Function Scan", None), ("Index Scan", "booking_user_key_unique")}


def test_sales_figures_of_a_tier_come_from_the_index_alone(tier):
    bookings = Booking.objects.filter(ticket_tier=tier)
    with planned() as scans:
        assert bookings.holding_tickets().tickets() > 0
        assert bookings.filter(status="CONFIRMED").count() > 0

    assert scans == {("Index Only Scan", "booking_tier_status")}


def test_a_step_of_the_audit_comes_from_the_index_alone():
    tiers = list(audit.stock_after(None))
    with planned() as scans:
        assert len(audit.holdings(tiers[0][0], tiers[-1][0])) > 0.9 * audit.BATCH

    assert scans == {("Index Only Scan", "booking_tier_status")}


def test_the_audits_search_for_keys_reads_no_rows():
    with planned() as scans:
        assert list(audit._keys_used_twice()) == []

    assert scans == {("Index Only Scan", "booking_user_key_unique")}


def test_holds_past_their_time_come_from_the_partial_index(customer, tier):
    now = timezone.now()
    hold = {"user": customer, "ticket_tier": tier, "quantity": 1, "unit_price": 10}
    Booking.objects.bulk_create(
        Booking(
            **hold,
            total_price=10,
            idempotency_key=uuid.uuid4(),
            hold_expires_at=now + timedelta(seconds=second),
        )
        for second in range(-100, 400)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE bookings_booking")
    with planned() as scans:
        assert len(claim(now=now, limit=20)) == 20

    assert {index for _, index in scans} == {"booking_pending_expiry"}


def test_the_list_of_concerts_comes_in_order_from_its_index():
    with planned() as scans:
        assert len(search({}, now=timezone.now())[:50]) == 50

    assert scans == {("Index Scan", "concert_status_date")}


def test_a_search_by_day_reads_that_day_from_its_index():
    day = Concert.objects.order_by("date")[1700].date.date()
    query = {"dateFrom": str(day), "dateTo": str(day)}
    with planned() as scans:
        found = list(search(query, now=timezone.now())[:50])

    assert scans == {("Index Scan", "concert_status_date")}
    assert found
    assert {local(concert.date, concert.time_zone).date() for concert in found} == {day}


@pytest.mark.parametrize(
    "path", ["/concerts/", "/api/v1/concerts", "/api/v1/concerts?available=true"]
)
def test_the_first_page_of_concerts_and_their_tiers_come_from_indexes(client, path):
    with planned() as scans:
        assert client.get(path).status_code == 200

    assert scans == {
        ("Index Scan", "concert_status_date"),
        ("Index Scan", "tier_concert_type_unique"),
        ("Sort", None),  # of the tiers of one page, by price
    }


def test_the_audit_is_clean_and_takes_seconds():
    start = time.monotonic()
    out = StringIO()
    call_command("audit_inventory", stdout=out)

    assert out.getvalue() == "10,002 tiers and 1,000,000 bookings: no difference.\n"
    assert time.monotonic() - start < 15


def test_one_wrong_tier_among_ten_thousand_is_found(tier):
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=F("available_quantity") - 1)
    held = Booking.objects.filter(ticket_tier=tier).holding_tickets().tickets()
    name = Concert.objects.get(ticket_tiers=tier).name
    out = StringIO()

    with pytest.raises(SystemExit) as end:
        call_command("audit_inventory", stdout=out)

    assert end.value.code == 1
    assert out.getvalue().splitlines() == [
        f"General admission of “{name}” ({tier.pk}): "
        f"{held + 1} tickets are out of stock, but its bookings hold {held}.",
        "1 difference.",
    ]
