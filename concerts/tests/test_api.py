"""The catalogue in the API."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from concerts.tests.factories import ConcertFactory, TicketTierFactory

pytestmark = pytest.mark.django_db

URL = "/api/v1/concerts"


def names(response):
    assert response.status_code == 200, response.content
    return [concert["name"] for concert in response.json()]


def code(response):
    assert response["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def in_days(days):
    return timezone.now() + timedelta(days=days)


def test_a_concert_as_the_list_shows_it(client):
    tier = TicketTierFactory(price="100.00", tier_type="VIP")
    cheap = TicketTierFactory(price="10.00", tier_type="GA", concert=tier.concert)
    (body,) = client.get(URL).json()
    assert set(body) == {
        *("id", "name", "artist", "date", "venue", "description", "createdAt", "updatedAt"),
        *("ticketTiers", "hasAvailableTickets"),
    }
    assert body["id"] == str(tier.concert.pk)
    assert datetime.fromisoformat(body["date"]) == tier.concert.date
    assert body["date"].endswith("Z")
    assert body["hasAvailableTickets"] is True
    assert [t["id"] for t in body["ticketTiers"]] == [str(cheap.pk), str(tier.pk)]  # by price
    assert body["ticketTiers"][1] == {
        "id": str(tier.pk),
        "concertId": str(tier.concert.pk),
        "tierType": "VIP",
        "price": "100.00",
        "totalQuantity": 100,
        "availableQuantity": 100,
        "createdAt": tier.created_at.isoformat().replace("+00:00", "Z"),
        "updatedAt": tier.updated_at.isoformat().replace("+00:00", "Z"),
    }


def test_published_concerts_soonest_first(client):
    ConcertFactory(name="second", date=in_days(2))
    ConcertFactory(name="first", date=in_days(1))
    ConcertFactory(name="draft", status="DRAFT")
    ConcertFactory(name="called off", status="CANCELLED")
    assert names(client.get(URL)) == ["first", "second"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=north", ["Northern Lights"]),
        ("q=OPERA", ["Northern Lights"]),
        ("q=50%25", []),
        ("q=_", []),
        ("artist=aurora", ["Northern Lights"]),
        ("venue=club", ["Late Show"]),
        ("venue=club&artist=aurora", []),
        ("dateFrom=2031-06-02", ["Late Show"]),
        ("dateTo=2031-06-01", ["Northern Lights"]),
        ("dateFrom=2031-06-01&dateTo=2031-06-01", ["Northern Lights"]),
        ("dateFrom=2031-06-01T20:00:01Z", ["Late Show"]),
        ("dateTo=2031-06-01T22:00:00%2B02:00", ["Northern Lights"]),
        ("dateTo=2031-06-01T22:00:00+02:00", ["Northern Lights"]),
        ("dateTo=2031-06-02T12:00:00%2B16:00", ["Northern Lights"]),
        ("dateFrom=2031-06-01T20:00:00Z&dateTo=2031-06-01T20:00:00Z", ["Northern Lights"]),
        ("dateTo=9999-12-31", ["Northern Lights", "Late Show"]),
        ("dateTo=9999-12-31T23:59:59.999999Z", ["Northern Lights", "Late Show"]),
        ("dateFrom=9999-12-31", []),
        ("available=true", ["Late Show"]),
        ("available=false", ["Northern Lights", "Late Show"]),
        ("", ["Northern Lights", "Late Show"]),
    ],
)
def test_filters(client, query, found):
    TicketTierFactory(
        total_quantity=0,
        concert__name="Northern Lights",
        concert__artist="Aurora",
        concert__venue="Opera House",
        concert__date=datetime(2031, 6, 1, 20, tzinfo=UTC),
    )
    TicketTierFactory(
        concert__name="Late Show",
        concert__artist="The Owls",
        concert__venue="Jazz Club",
        concert__date=datetime(2031, 6, 2, 0, tzinfo=UTC),
    )
    assert names(client.get(f"{URL}?{query}")) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("dateFrom=soon", "dateFrom"),
        ("dateTo=2031-02-30", "dateTo"),
        ("dateTo=9999-12-31T23:59:59-05:00", "dateTo"),
        ("dateFrom=2031-06-02&dateTo=2031-06-01", "dateFrom"),
        ("dateFrom=2031-06-01T20:00:01Z&dateTo=2031-06-01T20:00:00Z", "dateFrom"),
        ("datefrom=2031-06-01", "datefrom"),
        ("page=2", "page"),
        ("dateFrom=2031-01-01T25:00", "dateFrom"),
        ("dateFrom=0001-01-01T00:00:00%2B16:00", "dateFrom"),
        ("available=yes", "available"),
        ("q=%00", "q"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1e3", "limit"),
        ("cursor=rubbish", "cursor"),
        ("cursor=W251bGwsbnVsbF0", "cursor"),
        ("cursor=WyJ4IiwieSJd", "cursor"),
    ],
)
def test_a_bad_query_says_what_to_do(client, query, field):
    response = client.get(f"{URL}?{query}")
    assert code(response) == (400, "invalid")
    assert response.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["{}", "{}/availability"])
def test_one_concert_takes_no_parameters(client, path):
    concert = ConcertFactory()
    response = client.get(f"{URL}/{path.format(concert.pk)}?limit=1&fields=name")
    assert code(response) == (400, "invalid")
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        ("limit", "unknown_parameter"),
        ("fields", "unknown_parameter"),
    ]


def test_pages_follow_the_link_even_through_equal_dates(client):
    same_day = in_days(5)
    made = [ConcertFactory(date=same_day).name for _ in range(5)]
    response = client.get(f"{URL}?limit=2&q=concert")
    seen = names(response)
    while link := response.headers.get("Link"):
        assert link.endswith('>; rel="next"')
        response = client.get(link[1 : link.index(">")])
        seen += names(response)
    assert seen == made


def test_the_list_takes_two_queries_whatever_its_length(client, django_assert_num_queries):
    for _ in range(10):
        TicketTierFactory()
    with django_assert_num_queries(2):
        client.get(URL)


def test_one_concert_with_its_tiers(client):
    tier = TicketTierFactory()
    body = client.get(f"{URL}/{tier.concert.pk}").json()
    assert body["ticketTiers"][0]["id"] == str(tier.pk)
    assert "hasAvailableTickets" not in body


def test_availability_with_an_etag(client):
    tier = TicketTierFactory()
    url = f"{URL}/{tier.concert.pk}/availability"
    response = client.get(url)
    assert response.json() == {
        "concertId": str(tier.concert.pk),
        "concertName": tier.concert.name,
        "tiers": [
            {
                "tierId": str(tier.pk),
                "tierType": "GA",
                "price": "10.00",
                "availableQuantity": 100,
                "totalQuantity": 100,
            }
        ],
    }
    unchanged = client.get(url, headers={"If-None-Match": response["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    type(tier).objects.update(available_quantity=99)
    changed = client.get(url, headers={"If-None-Match": response["ETag"]})
    assert changed.json()["tiers"][0]["availableQuantity"] == 99


@pytest.mark.parametrize("path", ["{}", "{}/availability"])
@pytest.mark.parametrize("status", ["DRAFT", "CANCELLED"])
def test_what_is_not_published_is_not_found(client, path, status):
    concert = ConcertFactory(status=status)
    assert code(client.get(f"{URL}/{path.format(concert.pk)}")) == (404, "not_found")


@pytest.mark.parametrize("key", [uuid.uuid4(), "123", "NOT-A-UUID", "%00", "../users"])
def test_what_does_not_exist_is_not_found(client, key):
    assert code(client.get(f"{URL}/{key}")) == (404, "not_found")


def test_the_accept_header_changes_nothing(client):
    ConcertFactory()
    response = client.get(URL, headers={"Accept": "text/html"})
    assert response["Content-Type"] == "application/json"
