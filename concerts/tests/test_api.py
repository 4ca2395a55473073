"""The catalogue in the API."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from concerts.models import Concert
from concerts.tests.factories import ConcertFactory, TicketTierFactory

pytestmark = pytest.mark.django_db

URL = "/api/v1/concerts"
MICROSECOND = timedelta(microseconds=1)


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
        *(
            "status",
            "salesOpenAt",
            "salesCloseAt",
            "onSale",
            "timeZone",
            "ticketTiers",
            "hasAvailableTickets",
        ),
    }
    assert body["id"] == str(tier.concert.pk)
    assert datetime.fromisoformat(body["date"]) == tier.concert.date
    assert body["date"].endswith("Z")
    assert (body["status"], body["salesOpenAt"], body["salesCloseAt"]) == ("PUBLISHED", None, None)
    assert body["hasAvailableTickets"] is body["onSale"] is True
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
        "currency": "USD",
        "maxPerCustomer": None,
    }


ON_SALE = [
    ({}, 1, True),
    ({"sales_open_at": in_days(-1), "sales_close_at": in_days(1)}, 1, True),
    ({}, 0, False),
    ({"sales_open_at": in_days(1)}, 1, False),
    ({"sales_close_at": in_days(-1)}, 1, False),
    ({"date": in_days(-1)}, 1, False),
]


@pytest.mark.parametrize(("facts", "left", "on_sale"), ON_SALE)
def test_a_concert_is_on_sale_while_a_ticket_can_be_bought(client, facts, left, on_sale):
    concert = ConcertFactory(**facts)
    TicketTierFactory(concert=concert, total_quantity=left, tier_type="VIP")
    TicketTierFactory(concert=concert, total_quantity=0, tier_type="GA")
    (listed,) = client.get(URL).json()
    assert listed["onSale"] is listed["hasAvailableTickets"] is on_sale
    assert client.get(f"{URL}/{concert.pk}").json()["onSale"] is on_sale
    assert names(client.get(f"{URL}?available=true")) == [concert.name] * on_sale


@pytest.mark.parametrize("status", Concert.Status.values)
def test_the_moment_decides_alike_for_one_concert_and_for_many(status):
    opens, closes = in_days(1), in_days(2)
    concert = ConcertFactory(
        status=status, date=in_days(3), sales_open_at=opens, sales_close_at=closes
    )
    assert not Concert.objects.on_sale(opens).exists()  # it has no tier yet
    TicketTierFactory(concert=concert)
    for now, sells in [
        (opens - MICROSECOND, False),
        (opens, True),
        (closes - MICROSECOND, True),
        (closes, False),
        (concert.date, False),
    ]:
        expected = sells and status == "PUBLISHED"
        assert concert.is_on_sale(now) is expected
        assert Concert.objects.on_sale(now).exists() is expected


def test_sales_times_and_the_limit_of_a_customer_are_told(client):
    tier = TicketTierFactory(
        max_per_customer=4,
        concert__sales_open_at=datetime(2030, 1, 1, tzinfo=UTC),
        concert__sales_close_at=datetime(2030, 2, 1, tzinfo=UTC),
        concert__date=datetime(2030, 3, 1, tzinfo=UTC),
    )
    body = client.get(f"{URL}/{tier.concert.pk}").json()
    assert body["salesOpenAt"] == "2030-01-01T00:00:00.000000Z"
    assert body["salesCloseAt"] == "2030-02-01T00:00:00.000000Z"
    assert body["ticketTiers"][0]["maxPerCustomer"] == 4


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
        ("dateFrom=2031-06-02&dateTo=2031-06-01", "dateFrom"),
        ("dateFrom=2031-06-01T20:00:01Z&dateTo=2031-06-01T20:00:00Z", "dateFrom"),
        ("datefrom=2031-06-01", "datefrom"),
        ("page=2", "page"),
        ("dateFrom=2031-01-01T25:00", "dateFrom"),
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


def test_a_concert_that_was_called_off_can_still_be_read(client):
    tier = TicketTierFactory(concert__status="CANCELLED")
    body = client.get(f"{URL}/{tier.concert.pk}").json()
    assert (body["status"], body["onSale"]) == ("CANCELLED", False)
    availability = client.get(f"{URL}/{tier.concert.pk}/availability")
    assert availability.json()["tiers"][0]["tierId"] == str(tier.pk)


@pytest.mark.parametrize("path", ["{}", "{}/availability"])
def test_a_draft_is_not_found(client, path):
    concert = ConcertFactory(status="DRAFT")
    assert code(client.get(f"{URL}/{path.format(concert.pk)}")) == (404, "not_found")


@pytest.mark.parametrize("key", [uuid.uuid4(), "123", "NOT-A-UUID", "%00", "../users"])
def test_what_does_not_exist_is_not_found(client, key):
    assert code(client.get(f"{URL}/{key}")) == (404, "not_found")


def test_the_accept_header_changes_nothing(client):
    ConcertFactory()
    response = client.get(URL, headers={"Accept": "text/html"})
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("dateTo=9999-12-31T23:59:59-05:00", 1),
        ("dateFrom=0001-01-01T00:00:00%2B16:00", 1),
        ("dateFrom=9999-12-31T23:59:59-05:00", 0),
        ("dateTo=0001-01-01T00:00:00%2B05:00", 0),
    ],
)
def test_a_time_beyond_what_utc_can_tell_is_a_time(client, query, found):
    ConcertFactory()
    assert len(names(client.get(f"{URL}?{query}"))) == found


@pytest.mark.parametrize(
    "query",
    [
        "dateFrom=2026-12-31T00:00:00Z&dateTo=2026-12-01",
        "dateFrom=2026-12-31&dateTo=2026-12-01T00:00:00Z",
        "dateFrom=9999-12-31&dateTo=0001-01-01T00:00:00%2B05:00",
    ],
)
def test_a_day_and_a_time_in_the_wrong_order_are_refused_too(client, query):
    response = client.get(f"{URL}?{query}")
    assert code(response) == (400, "invalid")
    assert [error["field"] for error in response.json()["errors"]] == ["dateFrom"]


@pytest.mark.parametrize(
    "query",
    [
        "dateFrom=2026-12-01T23:00:00Z&dateTo=2026-12-01",
        "dateFrom=2026-12-02&dateTo=2026-12-01T23:00:00Z",  # it is the second in Tokyo
    ],
)
def test_a_day_and_a_time_that_some_venue_has_in_order_are_taken(client, query):
    assert names(client.get(f"{URL}?{query}")) == []


@pytest.mark.parametrize("address", [URL, f"{URL}/{uuid.uuid4()}", "/api/v1/health-check"])
def test_a_parameter_that_is_sent_twice_or_unknown_is_refused_everywhere(client, address):
    for query, why in (("limit=1&limit=2", "repeated"), ("nonsense=1", "unknown")):
        response = client.get(f"{address}?{query}")
        assert code(response) == (400, "invalid")
        (error,) = response.json()["errors"]
        known = address == URL or why == "unknown"
        assert error["code"] == (f"{why}_parameter" if known else "unknown_parameter")


@pytest.mark.parametrize(
    "path", ["/api/v1/concerts/{}", "/api/v1/concerts/{}/availability", "/concerts/{}/"]
)
def test_an_id_is_the_same_in_capitals(client, path):
    concert = TicketTierFactory().concert
    assert client.get(path.format(str(concert.pk).upper())).status_code == 200


@pytest.mark.parametrize(
    "path", [URL, "/api/v1/openapi.json", "/api/v1/users", "/api/v1/health-check"]
)
def test_the_answer_to_options_does_not_call_itself_html(client, path):
    response = client.options(path)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response


def test_the_contract_tells_of_every_problem(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert "default" in answers
            assert ("413" in answers) == (method in {"post", "patch"})
            guessed_at = method == "post" and path in {"/api/v1/users", "/api/v1/auth/token"}
            assert ("429" in answers) == guessed_at
    (concert_id,) = paths["/api/v1/concerts/{concert_id}"]["get"]["parameters"]
    assert concert_id["schema"] == {"type": "string", "format": "uuid"}
