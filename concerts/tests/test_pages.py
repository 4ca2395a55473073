from datetime import UTC, datetime

import pytest
from django.utils import timezone

from concerts.models import Concert, TicketTier
from concerts.sales import Phase, Sale
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from concerts.tests.visiting import page, soon

pytestmark = pytest.mark.django_db


def names(client, **query):
    response = client.get("/concerts/", query)
    return [sale.concert.name for sale in response.context["sales"]]


# --- The list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/concerts/"])
def test_list_shows_the_concerts_soonest_first(client, path):
    later = TicketTierFactory(concert__name="Later", concert__date=soon(days=9)).concert
    sooner = TicketTierFactory(concert__name="Sooner", concert__date=soon(days=3)).concert
    html = page(client, path)
    assert html.index(sooner.name) < html.index(later.name)
    assert f'href="/concerts/{sooner.pk}/"' in html
    assert f'datetime="{sooner.date.isoformat()}"' in html


def test_list_leaves_out_drafts_the_called_off_and_the_past(client):
    ConcertFactory(status=Concert.Status.DRAFT)
    ConcertFactory(status=Concert.Status.CANCELLED)
    ConcertFactory(date=soon(hours=-1))
    assert names(client) == []


def test_a_visitor_who_names_a_date_sees_the_past(client):
    ConcertFactory(name="Woodstock", date=datetime(1969, 8, 15, tzinfo=UTC))
    assert names(client, dateFrom="1969-08-15", dateTo="1969-08-15") == ["Woodstock"]


def test_search_keeps_what_was_asked(client):
    TicketTierFactory(concert__name="Northern Lights")
    TicketTierFactory(concert__name="Southern Cross")
    html = page(client, q="northern", dateFrom="2020-01-01", available="true")
    assert "Northern Lights" in html
    assert "Southern Cross" not in html
    assert 'value="northern"' in html
    assert 'value="2020-01-01"' in html
    assert 'value="true" checked' in html


def test_what_is_on_sale_now_can_be_asked_for(client):
    TicketTierFactory(concert__name="Now")
    TicketTierFactory(concert__name="Later", concert__sales_open_at=soon(days=1))
    TicketTierFactory(concert__name="Closed", concert__sales_close_at=soon(days=-1))
    TicketTierFactory(concert__name="Sold out", total_quantity=0)
    assert names(client, available="true") == ["Now"]


def test_no_match_offers_the_way_back(client):
    assert "No concert matches" in page(client, q="nothing like it")


def test_no_concert_at_all_says_so(client):
    assert "No concert is announced" in page(client)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dateFrom", "soon"), ("dateTo", "2030-02-31"), ("q", "a\x00b"), ("available", "maybe")],
)
def test_a_filter_that_cannot_be_understood_says_why_and_keeps_the_rest(client, field, value):
    ConcertFactory(name="Unlisted")
    html = page(client, status=400, **{"q": "keep me", field: value})
    assert 'role="alert"' in html
    assert "Unlisted" not in html
    assert field == "q" or 'value="keep me"' in html


def test_dates_the_wrong_way_round_are_explained_beside_the_first(client):
    html = page(client, status=400, dateFrom="2031-06-02", dateTo="2031-06-01")
    assert 'aria-describedby="dateFrom-error"' in html


def test_what_mail_programs_append_to_a_link_changes_nothing(client):
    TicketTierFactory(concert__name="Northern Lights")
    assert names(client, utm_source="letter", fbclid="x") == ["Northern Lights"]


def test_bad_date_is_explained_beside_its_field(client):
    html = page(client, status=400, dateTo="soon")
    assert 'value="soon" aria-invalid="true" aria-describedby="dateTo-error"' in html


def test_more_than_a_page_of_concerts_is_linked(client):
    for n in range(25):
        ConcertFactory(name=f"Night {n}", date=soon(days=n + 1), venue="Cellar")
    first = client.get("/concerts/", {"q": "cellar"})
    assert len(first.context["sales"]) == 24
    second = client.get("/concerts/" + first.context["next_query"])
    assert [sale.concert.name for sale in second.context["sales"]] == ["Night 24"]
    assert "q=cellar" in first.context["next_query"]
    assert not second.context["next_query"]


def test_a_made_up_cursor_is_not_found(client):
    page(client, status=404, cursor="nonsense")


@pytest.mark.parametrize("concerts", [1, 24])
def test_list_takes_two_queries_whatever_its_length(client, django_assert_num_queries, concerts):
    for concert in ConcertFactory.create_batch(concerts):
        TicketTierFactory(concert=concert)
        TicketTierFactory(concert=concert, tier_type=TicketTier.Type.VIP)
    with django_assert_num_queries(2):
        page(client)


# --- How a sale stands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concert", "left", "phase", "words"),
    [
        ({}, 100, Phase.OPEN, "Available"),
        ({}, 20, Phase.FEW_LEFT, "Only 20 left"),
        ({}, 0, Phase.SOLD_OUT, "Sold out"),
        ({"sales_open_at": soon(days=1)}, 100, Phase.LATER, "On sale from"),
        ({"sales_open_at": soon(days=1)}, 0, Phase.LATER, "On sale from"),
        ({"sales_close_at": soon(days=-1)}, 100, Phase.CLOSED, "Sales have ended"),
    ],
)
def test_list_says_how_each_sale_stands(client, concert, left, phase, words):
    tier = TicketTierFactory(**{f"concert__{name}": value for name, value in concert.items()})
    sell(tier, 100 - left)
    response = client.get("/")
    assert response.context["sales"][0].phase == phase
    assert words in response.content.decode()


def test_a_concert_without_tiers_is_not_on_sale_yet(client):
    ConcertFactory()
    assert "Not on sale yet" in page(client)


def test_from_price_is_the_cheapest_that_can_be_had():
    cheap = TicketTierFactory(price=10)
    TicketTierFactory(concert=cheap.concert, price=50, tier_type=TicketTier.Type.VIP)
    assert Sale(cheap.concert, timezone.now()).from_price == 10
    sell(cheap, 100)
    assert Sale(cheap.concert, timezone.now()).from_price == 50
