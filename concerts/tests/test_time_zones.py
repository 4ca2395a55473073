"""A concert's times are those of its venue: on pages, in refusals, and in a search by day."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection, transaction

from concerts.models import Concert
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from concerts.tests.visiting import page, soon
from ticketbook import zones

pytestmark = pytest.mark.django_db

API = "/api/v1/concerts"
BROOKLYN = {
    "name": "Bridge Songs",
    "date": datetime(2031, 12, 11, 0, 30, tzinfo=UTC),
    "time_zone": "America/New_York",
}


def found(client, **query):
    """The names that the API lists, which are those that the page shows."""
    names = [concert["name"] for concert in client.get(API, query).json()]
    sales = client.get("/concerts/", query).context["sales"]
    assert [sale.concert.name for sale in sales] == names
    return names


def test_a_concert_in_brooklyn_is_on_the_evening_of_the_tenth(client):
    concert = TicketTierFactory(
        concert=ConcertFactory(**BROOKLYN, sales_open_at=datetime(2031, 12, 1, 15, 0, tzinfo=UTC))
    ).concert
    html = page(client)
    assert (
        '<time datetime="2031-12-11T00:30:00+00:00">Wed 10 Dec 2031, 19:30 (New York time)</time>'
        in html
    )
    assert "<span>Dec</span><b>10</b><span>2031</span>" in html
    assert "1 Dec, 10:00 (New York time)" in html
    its_page = page(client, f"/concerts/{concert.pk}/")
    assert "Wed 10 Dec 2031, 19:30 (New York time)" in its_page
    assert "Mon 1 Dec 2031, 10:00 (New York time)" in its_page
    assert str(concert) == "Bridge Songs (The Testers, 2031-12-10)"


def test_the_api_keeps_utc_and_names_the_zone(client):
    concert = ConcertFactory(**BROOKLYN)
    for body in (client.get(API).json()[0], client.get(f"{API}/{concert.pk}").json()):
        assert body["date"] == "2031-12-11T00:30:00.000000Z"
        assert body["timeZone"] == "America/New_York"


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ({"dateFrom": "2031-12-10", "dateTo": "2031-12-10"}, True),
        ({"dateFrom": "2031-12-11", "dateTo": "2031-12-11"}, False),
        ({"dateFrom": "2031-12-11"}, False),
        ({"dateTo": "2031-12-10"}, True),
        ({"dateTo": "2031-12-09"}, False),
        ({"dateFrom": "0001-01-01", "dateTo": "9999-12-31"}, True),
        ({"dateFrom": "2031-12-11T00:30:00Z", "dateTo": "2031-12-11T00:30:00Z"}, True),
        ({"dateFrom": "2031-12-11T00:30:00.000001Z"}, False),
        # A day and an instant: the day is the venue's.
        ({"dateFrom": "2031-12-11T00:00:00Z", "dateTo": "2031-12-10"}, True),
        ({"dateFrom": "2031-12-11", "dateTo": "2031-12-11T00:30:00Z"}, False),
    ],
)
def test_a_search_by_day_means_the_day_at_the_venue(client, query, listed):
    ConcertFactory(**BROOKLYN)
    assert found(client, **query) == ["Bridge Songs"] * listed


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"])
@pytest.mark.parametrize("clock", ["00:00:00", "23:59:59.999999"])
def test_the_first_and_last_moment_of_a_day_are_found_in_every_zone(client, zone, clock):
    wall = datetime.fromisoformat(f"2031-06-10T{clock}")
    (at,) = zones.moments(wall, zone)
    ConcertFactory(name="here", date=at, time_zone=zone)
    assert found(client, dateFrom="2031-06-10", dateTo="2031-06-10") == ["here"]
    assert found(client, dateFrom="2031-06-11") == found(client, dateTo="2031-06-09") == []


def test_concerts_at_the_ends_of_time_do_not_break_the_list(client):
    for name, date, zone in [
        ("last", datetime(9999, 12, 31, 23, 30, tzinfo=UTC), "Asia/Tokyo"),
        ("first", datetime(1, 1, 1, 0, 30, tzinfo=UTC), "America/New_York"),
    ]:
        ConcertFactory(name=name, date=date, time_zone=zone)
    assert found(client, dateFrom="0001-01-01", dateTo="9999-12-31") == []
    assert [c["name"] for c in client.get(API).json()] == ["first", "last"]


def test_the_time_that_comes_twice_is_told_apart():
    first, second = zones.moments(datetime(2026, 11, 1, 1, 30), "America/New_York")
    assert zones.in_words(first, "America/New_York").endswith("01:30 (New York time, UTC−4)")
    assert zones.in_words(second, "America/New_York").endswith("01:30 (New York time, UTC−5)")


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Kyiv", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"]
)
def test_a_zone_that_a_person_would_pick_is_taken(name):
    ConcertFactory.build(name="x", time_zone=name).clean_fields()
    assert ConcertFactory(time_zone=name).pk


@pytest.mark.parametrize(
    "name",
    ["", "EST", "EST5EDT", "US/Eastern", "Etc/GMT+5", "Europe/Kiev", "GMT", "Zulu", "posixrules",
     "america/new_york", "Mars/Olympus", "../etc/passwd", "UTC+1", " UTC", "America/New_York "],
)  # fmt: skip
def test_an_alias_or_no_zone_is_refused_with_a_sentence(name):
    with pytest.raises(ValidationError) as error:
        ConcertFactory.build(time_zone=name).clean_fields()
    if name:
        assert error.value.message_dict["time_zone"] == [zones.WHICH]


def test_every_zone_is_known_to_the_database():
    concert = ConcertFactory()
    for name in zones.names():
        Concert.objects.filter(pk=concert.pk).update(time_zone=name)
    assert len(zones.names()) > 400


@pytest.mark.parametrize("name", ["", "EST5EDT", "Etc/GMT+5", "<+03>-3"])
def test_the_database_refuses_what_is_no_area_and_city(name):
    concert = ConcertFactory()
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        Concert.objects.filter(pk=concert.pk).update(time_zone=name)
    assert error.value.__cause__.diag.constraint_name == "concert_time_zone_form"


def test_the_database_refuses_a_zone_that_would_break_every_search(client):
    concert = ConcertFactory()
    with pytest.raises(DataError), transaction.atomic():
        Concert.objects.filter(pk=concert.pk).update(time_zone="Mars/Olympus")


def test_a_row_of_somebody_who_names_no_zone_is_in_utc():
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO concerts_concert (name, artist, venue, date, status, created_at, updated_at)"
            " VALUES ('a', 'b', 'c', now(), 'DRAFT', now(), now())"
        )
    assert Concert.objects.get().time_zone == "UTC"


def test_a_new_concert_is_in_the_zone_of_the_house(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    assert Concert(name="x").time_zone == "Europe/Berlin"


def test_sales_that_have_ended_are_told_by_the_clock_of_the_venue(client):
    closes = soon(days=-1).replace(hour=22, minute=15)
    concert = ConcertFactory(sales_close_at=closes, time_zone="Asia/Kolkata")
    TicketTierFactory(concert=concert)
    assert "03:45 (Kolkata time)" in page(client, f"/concerts/{concert.pk}/")
