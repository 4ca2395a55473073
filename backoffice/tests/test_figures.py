"""Every figure of the first page equals plain SQL, to the cent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from backoffice import days
from backoffice.days import close_days, days_until, forget
from backoffice.figures import lately, next_houses, standings
from backoffice.models import ClosedDay
from backoffice.tests.random_sales import sell_at_random
from bookings.models import Booking, Refund
from concerts.models import Concert
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell

pytestmark = pytest.mark.django_db

# In New York clocks go back by an hour on 1 November, and in Lord Howe by half an hour on 4 April. In Cairo
# the night of 24 April has no midnight.
MOMENTS = [
    ("UTC", datetime(2026, 11, 26, 12, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 10, 4, 30, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 5, 10, 12, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 20, 23, tzinfo=UTC)),
]


def rows(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


PAID = "status IN ('CONFIRMED', 'CANCELLED')"
SOLD = f"{PAID} AND total_price <> 0 AND source = 'ONLINE'"
CASH = f"{PAID} AND total_price <> 0 AND source IN ('HOUSE', 'ARTIST', 'DOOR')"
HOUSE, ARTIST, DOOR = (f"{PAID} AND source = '{source}'" for source in ("HOUSE", "ARTIST", "DOOR"))
FREE = f"{PAID} AND total_price = 0 AND source = 'ONLINE'"
SENT = (
    "SELECT day(sent_at), sum(amount) FROM bookings_refund refund JOIN bookings_booking booking"
    " ON booking.id = booking_id WHERE refund.status = 'SENT' AND gateway"
)
BY_DAY = {
    "sold_tickets": f"SELECT day(created_at), sum(quantity) FROM bookings_booking WHERE {SOLD}",
    "sold_money": f"SELECT day(created_at), sum(total_price) FROM bookings_booking WHERE {SOLD}",
    "house_tickets": f"SELECT day(created_at), sum(quantity) FROM bookings_booking WHERE {HOUSE}",
    "artist_tickets": f"SELECT day(created_at), sum(quantity) FROM bookings_booking WHERE {ARTIST}",
    "door_tickets": f"SELECT day(created_at), sum(quantity) FROM bookings_booking WHERE {DOOR}",
    "door_money": f"SELECT day(created_at), sum(total_price) FROM bookings_booking WHERE {CASH}",
    "free_tickets": f"SELECT day(created_at), sum(quantity) FROM bookings_booking WHERE {FREE}",
    "late_money": "SELECT day(created_at), sum(amount) FROM bookings_refund WHERE reason = 'LATE'",
    "sent_back": f"{SENT} <> 'cash'",
    "cash_back": f"{SENT} = 'cash'",
}


def by_sql(name, zone):
    sql = BY_DAY[name].replace("day(", f"date(timezone('{zone}', ").replace("), sum", ")), sum")
    return dict(rows(f"{sql} GROUP BY 1"))


def check(counted, zone):
    for name in BY_DAY:
        expected = by_sql(name, zone)
        found = {day.on: getattr(day, name) for day in counted}
        assert found == {day: expected.get(day, 0) for day in found}, name


@pytest.mark.parametrize(("zone", "now"), MOMENTS, ids=[zone for zone, _ in MOMENTS])
def test_sales_and_money_by_day_equal_plain_sql(settings, zone, now):
    settings.TIME_ZONE = zone
    sell_at_random(zone, now=now, days=32)
    found = days_until(now)
    check(found, zone)
    assert len(found) == 30
    assert sum(day.taken for day in found) > 0
    assert all(sum(getattr(day, name) for day in found) for name in BY_DAY), "all of them occur"


@pytest.mark.parametrize(("zone", "now"), MOMENTS, ids=[zone for zone, _ in MOMENTS])
def test_closed_days_are_the_same_as_counted_ones(settings, zone, now):
    settings.TIME_ZONE = zone
    sell_at_random(zone, now=now, days=32)
    Booking.objects.filter(status="PENDING").delete()
    counted = days_until(now)
    assert close_days(now) == 29
    assert close_days(now) == 0
    kept = days_until(now)
    assert kept == counted
    assert [day.is_closed for day in kept] == [True] * 29 + [False]


def test_a_closed_day_is_not_counted_again_until_it_is_forgotten():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(1, now=now, days=32)
    Booking.objects.filter(status="PENDING").delete()
    close_days(now)
    before = days_until(now)
    sell_at_random(2, now=now - timedelta(days=2), days=20)
    assert days_until(now)[:20] == before[:20]
    forget()
    check(days_until(now), "UTC")


def test_what_happens_later_counts_on_its_own_day():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(3, now=now - timedelta(days=10), days=10)
    close_days(now)
    # Closed bookings are cancelled, refunded, and paid too late today.
    for booking in Booking.objects.filter(status="FAILED", payment_status="FAILED")[:5]:
        Booking.objects.filter(pk=booking.pk).update(
            payment_status="SUCCESS", failure_reason="EXPIRED", refunded_total=booking.total_price
        )
        Refund.objects.create(
            booking=booking, amount=booking.total_price, reason="LATE", created_at=now
        )
    for booking in Booking.objects.filter(
        status="CONFIRMED", payment_status="SUCCESS", refunded_total=0, total_price__gt=0
    ):
        Booking.objects.filter(pk=booking.pk).update(
            status="CANCELLED",
            payment_status="REFUNDED",
            returned_quantity=booking.quantity,
            refunded_total=booking.total_price,
        )
        Refund.objects.create(
            booking=booking,
            amount=booking.total_price,
            reason="CANCELLED",
            status="SENT",
            created_at=now,
            sent_at=now,
        )
    found = days_until(now)
    check(found, "UTC")
    assert found[-1].late_money
    assert found[-1].sent_back


def test_a_day_with_an_open_hold_stays_open():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(4, now=now - timedelta(days=3), days=1, bookings=100)
    close_days(now)
    held = Booking.objects.filter(status="PENDING")
    assert held
    closed = {day.on: day.is_closed for day in days_until(now)}
    assert not any(closed[booking.created_at.date()] for booking in held)
    held.update(status="CONFIRMED", payment_status="SUCCESS")
    check(days_until(now), "UTC")


def test_a_hold_that_is_paid_while_its_day_is_being_closed_is_counted(monkeypatch):
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(4, now=now - timedelta(days=3), days=0, bookings=40)
    held = Booking.objects.filter(status="PENDING")
    assert held

    def pay_after(step):
        def stepped(*args):
            result = step(*args)
            held.update(status="CONFIRMED", payment_status="SUCCESS")
            return result

        return stepped

    for step in ("_is_over", "_count"):
        monkeypatch.setattr(days, step, pay_after(getattr(days, step)))
    close_days(now)
    check(days_until(now), "UTC")


def test_a_day_that_has_just_ended_stays_open_for_an_hour():
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    close_days(midnight + timedelta(minutes=59))
    yesterday = midnight - timedelta(days=1)
    assert not ClosedDay.objects.filter(begins_at=yesterday).exists()
    close_days(midnight + timedelta(minutes=60))
    assert ClosedDay.objects.filter(begins_at=yesterday).exists()


def test_another_time_zone_makes_other_days(settings):
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(5, now=now, days=10)
    Booking.objects.filter(status="PENDING").delete()
    close_days(now)
    settings.TIME_ZONE = "Asia/Tokyo"
    check(days_until(now), "Asia/Tokyo")


LATELY = f"""
SELECT ticket_tier_id,
    count(*) FILTER (WHERE {PAID}),
    coalesce(sum(quantity) FILTER (WHERE {SOLD}), 0),
    coalesce(sum(total_price) FILTER (WHERE {SOLD}), 0),
    coalesce(sum(quantity) FILTER (WHERE {HOUSE}), 0),
    coalesce(sum(quantity) FILTER (WHERE {ARTIST}), 0),
    coalesce(sum(quantity) FILTER (WHERE {DOOR}), 0),
    coalesce(sum(total_price) FILTER (WHERE {CASH}), 0),
    coalesce(sum(quantity) FILTER (WHERE {FREE}), 0),
    coalesce(sum(quantity) FILTER (WHERE status = 'PENDING'), 0)
FROM bookings_booking
WHERE created_at >= %s AND status <> 'FAILED'
GROUP BY 1 ORDER BY 3 DESC
"""


@pytest.mark.parametrize("seed", range(3))
def test_what_sells_now_equals_plain_sql(seed):
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    sell_at_random(seed, now=now, days=1, bookings=600)
    found = lately(now)
    expected = rows(LATELY, now - timedelta(hours=1))
    assert {figures(sale) for sale in found.sales} == set(expected)
    sums = tuple(sum(column) for column in list(zip(*expected, strict=True))[1:])
    assert figures(found.total)[1:] == sums


def figures(sale):
    return (
        sale.tier and sale.tier.pk,
        *(sale.bookings, sale.sold_tickets, sale.sold_money, sale.house_tickets),
        *(sale.artist_tickets, sale.door_tickets, sale.door_money),
        *(sale.free_tickets, sale.held_tickets),
    )


def test_nothing_sold_lately_is_zero():
    found = lately(datetime(2026, 11, 26, 12, tzinfo=UTC))
    assert found.sales == []
    assert figures(found.total) == (None, 0, 0, Decimal(0), 0, 0, 0, Decimal(0), 0, 0)


def test_the_tickets_of_a_concert_are_counted_by_their_source_as_in_plain_sql():
    sell_at_random(1, now=datetime(2026, 11, 26, 12, tzinfo=UTC), days=9)
    found = standings(Concert.objects.all(), with_money=True)
    for source in ("house", "artist", "door"):
        expected = rows(
            "SELECT concert_id, sum(quantity - returned_quantity) FROM bookings_booking booking"
            " JOIN concerts_tickettier tier ON tier.id = ticket_tier_id"
            f" WHERE {PAID} AND source = %s GROUP BY 1",
            source.upper(),
        )
        counted = {pk: getattr(each.takings, f"{source}_tickets") for pk, each in found.items()}
        assert counted == dict.fromkeys(counted, 0) | dict(expected)
        assert any(counted.values())


def test_the_next_houses_come_in_order_with_what_is_taken():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    later = TicketTierFactory(concert__date=now + timedelta(days=3), total_quantity=40)
    sooner = TicketTierFactory(concert__date=now + timedelta(days=1), total_quantity=60)
    TicketTierFactory(concert=sooner.concert, tier_type="VIP", total_quantity=30)
    sell(sooner, 45)
    ConcertFactory(status=Concert.Status.DRAFT, date=now + timedelta(days=2))
    ConcertFactory(date=now - timedelta(days=1))
    houses = next_houses(now)
    assert [house.concert for house in houses] == [sooner.concert, later.concert]
    assert (houses[0].capacity, houses[0].taken, houses[0].available) == (90, 45, 45)
    assert houses[0].percent == 50


def test_a_house_is_full_only_when_nothing_is_left():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    tier = TicketTierFactory(concert__date=now + timedelta(days=1), total_quantity=1000)
    sell(tier, 999)
    assert next_houses(now)[0].percent == 99
    ConcertFactory(date=now + timedelta(hours=1))
    assert next_houses(now)[0].percent == 0
