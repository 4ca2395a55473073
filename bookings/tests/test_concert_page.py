"""The page of a concert: what it says about the sale, and the form that books."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.utils import timezone

from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from concerts.tests.visiting import page, soon

pytestmark = pytest.mark.django_db


def test_concert_page_has_the_form(client):
    tier = TicketTierFactory(price="1250.00", concert__description="Doors at seven.")
    html = page(client, f"/concerts/{tier.concert.pk}/")
    assert "$1,250.00" in html
    assert "100 left" in html
    assert "Doors at seven." in html
    assert 'name="csrfmiddlewaretoken"' in html
    assert 'name="idempotency_key"' in html


def test_each_drawing_of_the_page_has_its_own_key(client):
    path = f"/concerts/{TicketTierFactory().concert.pk}/"
    assert page(client, path) != page(client, path)


def test_a_choice_in_the_address_is_made_in_the_form(client):
    tier = TicketTierFactory()
    other = TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP)
    html = page(client, f"/concerts/{tier.concert.pk}/", tier=str(other.pk), quantity="7")
    assert f'value="{other.pk}" required checked' in html
    assert 'value="7" required checked' in html
    assert html.count(" checked>") == 2


@pytest.mark.parametrize("junk", ["", "x" * 5000, "<script>", "99", "\x00"])
def test_junk_in_the_address_chooses_nothing(client, junk):
    tier = TicketTierFactory()
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP)
    html = page(client, f"/concerts/{tier.concert.pk}/", tier=junk, quantity=junk)
    assert " checked>" not in html
    assert "<script>" not in html


def test_sold_out_tier_cannot_be_chosen(client):
    gone = TicketTierFactory(tier_type=TicketTier.Type.VIP)
    left = TicketTierFactory(concert=gone.concert)
    sell(gone, 100)
    html = page(client, f"/concerts/{gone.concert.pk}/", tier=str(gone.pk))
    assert f'value="{gone.pk}" required disabled' in html
    assert f'value="{left.pk}" required>' in html


@pytest.mark.parametrize(
    ("concert", "words"),
    [
        ({"status": Concert.Status.CANCELLED}, "This concert has been called off"),
        ({"date": soon(hours=-1)}, "This concert has begun"),
        ({"sales_close_at": datetime(2020, 5, 1, tzinfo=UTC)}, "Fri 1 May 2020, 00:00 UTC"),
    ],
)  # fmt: skip
def test_concert_that_sells_nothing_says_why_and_has_no_form(client, concert, words):
    tier = TicketTierFactory(**{f"concert__{name}": value for name, value in concert.items()})
    html = page(client, f"/concerts/{tier.concert.pk}/")
    assert words in html
    assert "idempotency_key" not in html


def test_sold_out_concert_has_no_form(client):
    tier = TicketTierFactory()
    sell(tier, 100)
    html = page(client, f"/concerts/{tier.concert.pk}/")
    assert "Sold out" in html
    assert "idempotency_key" not in html


def test_draft_and_unknown_concerts_are_not_found(client):
    draft = TicketTierFactory(concert__status=Concert.Status.DRAFT).concert
    assert "This page is not here" in page(client, f"/concerts/{draft.pk}/", status=404)
    page(client, f"/concerts/{uuid4()}/", status=404)


def test_names_are_text_and_not_markup(client):
    evil = "<script>alert('x')</script>"
    tier = TicketTierFactory(
        concert__name=evil, concert__artist=evil, concert__venue=evil, concert__description=evil
    )
    for path in ["/", f"/concerts/{tier.concert.pk}/"]:
        html = page(client, path)
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


@pytest.mark.parametrize("tiers", [1, 3])
def test_concert_page_takes_two_queries(client, django_assert_num_queries, tiers):
    concert = ConcertFactory()
    for tier_type in TicketTier.Type.values[:tiers]:
        TicketTierFactory(concert=concert, tier_type=tier_type)
    with django_assert_num_queries(2):
        page(client, f"/concerts/{concert.pk}/")


@pytest.mark.parametrize(
    ("currency", "text"), [("USD", "$10.00"), ("EUR", "€10.00"), ("JPY", "JPY\xa010")]
)
def test_prices_name_the_currency(client, settings, currency, text):
    settings.CURRENCY = currency
    TicketTierFactory()
    assert text in page(client)


@pytest.mark.parametrize(
    ("concert", "opens", "ends"),
    [
        ({"sales_open_at": soon(hours=2)}, "sales_open_at", "date"),
        (
            {"sales_open_at": soon(hours=-2), "sales_close_at": soon(hours=2)},
            None,
            "sales_close_at",
        ),
        ({"sales_close_at": soon(days=40)}, None, "date"),
        ({}, None, "date"),
        ({"date": soon(hours=-1)}, None, None),
        ({"status": Concert.Status.CANCELLED, "sales_open_at": soon(hours=2)}, None, None),
    ],
)
def test_the_page_knows_when_its_sale_opens_and_ends(client, concert, opens, ends):
    tier = TicketTierFactory(**{f"concert__{name}": value for name, value in concert.items()})
    html = page(client, f"/concerts/{tier.concert_id}/")
    for attribute, moment in (("opens", opens), ("ends", ends)):
        left = re.search(f'data-{attribute}-in="(.*?)"', html)[1]
        if moment is None:
            assert left == ""
        else:
            expected = getattr(tier.concert, moment)
            assert abs(float(left) - (expected - timezone.now()).total_seconds()) < 30


def test_the_page_knows_that_a_closed_sale_is_over(client):
    tier = TicketTierFactory(concert__sales_close_at=soon(hours=-2))
    html = page(client, f"/concerts/{tier.concert_id}/")
    assert 'data-phase="closed"' in html
    assert 'data-ends-in=""' in html


def test_before_the_opening_the_form_is_there_and_its_button_waits(client):
    opens = datetime(2999, 5, 1, tzinfo=UTC)
    tier = TicketTierFactory(
        concert__sales_open_at=opens, concert__date=datetime(2999, 6, 1, tzinfo=UTC)
    )
    html = page(client, f"/concerts/{tier.concert_id}/", tier=str(tier.pk), quantity="3")
    assert 'name="idempotency_key"' in html
    assert 'value="3" required checked' in html
    assert re.search(r'<button[^>]* disabled [^>]*><span>Opens on <time datetime="2999-05-01', html)


def test_without_javascript_the_page_says_when_to_load_it_again(client):
    opens = datetime(2999, 5, 1, tzinfo=UTC)
    tier = TicketTierFactory(
        concert__sales_open_at=opens, concert__date=datetime(2999, 6, 1, tzinfo=UTC)
    )
    html = page(client, f"/concerts/{tier.concert_id}/")
    assert "1 May 2999, 00:00 UTC" in html
    assert "Load this page again then." in html
    assert 'http-equiv="refresh"' not in html
