"""The one module that writes stock, and the admin, which leaves stock alone."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from accounts.tests.factories import UserFactory
from concerts import stock
from concerts.admin import TicketTierForm
from concerts.models import Concert, TicketTier
from concerts.stock import CapacityBelowSold, change_capacity
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.errors import NotFound

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture
def tier():
    """A hundred tickets, forty of them out of stock."""
    tier = TicketTierFactory()
    stock.take(tier, 40, now=NOW)
    return tier


@pytest.fixture
def staff():
    return UserFactory(is_staff=True)


def counters(tier):
    tier.refresh_from_db()
    return tier.total_quantity, tier.available_quantity


@pytest.mark.parametrize(("total", "available"), [(120, 80), (100, 60), (40, 0)])
def test_capacity_moves_both_counters(tier, staff, total, available):
    change_capacity(tier_id=tier.pk, total=total, by=staff, reason="balcony", now=NOW)
    assert counters(tier) == (total, available)


def test_capacity_never_falls_below_what_is_sold(tier, staff):
    with pytest.raises(CapacityBelowSold) as refused:
        change_capacity(tier_id=tier.pk, total=39, by=staff, reason="balcony", now=NOW)
    assert refused.value.facts == {"sold": 40}
    assert counters(tier) == (100, 60)
    assert not LogEntry.objects.exists()


def test_who_changed_the_capacity_and_why_is_written_down(tier, staff):
    change_capacity(tier_id=tier.pk, total=120, by=staff, reason="balcony", now=NOW)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (staff, str(tier.pk))
    assert entry.change_message == "Capacity 100 → 120: balcony"


def test_the_capacity_of_an_unknown_tier_cannot_be_changed(staff):
    with pytest.raises(NotFound):
        change_capacity(tier_id=uuid.uuid4(), total=1, by=staff, reason="", now=NOW)


def inline(**rows):
    """The fields of the concert form, with one new tier and these changes."""
    return {
        "name": "Northern Lights",
        "artist": "Aurora",
        "venue": "Opera House",
        "date_0": "2031-06-01",
        "date_1": "20:00:00",
        "status": "PUBLISHED",
        "description": "",
        "ticket_tiers-TOTAL_FORMS": "1",
        "ticket_tiers-INITIAL_FORMS": "0",
        "ticket_tiers-MIN_NUM_FORMS": "0",
        "ticket_tiers-MAX_NUM_FORMS": "3",
        "ticket_tiers-0-tier_type": "GA",
        "ticket_tiers-0-price": "10.00",
        "ticket_tiers-0-total_quantity": "500",
    } | rows


def test_staff_make_a_concert_and_its_tier_starts_with_all_its_tickets(admin_client):
    response = admin_client.post("/admin/concerts/concert/add/", inline())
    assert response.status_code == 302, response.content.decode()
    tier = TicketTier.objects.get()
    assert (tier.total_quantity, tier.available_quantity) == (500, 500)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"ticket_tiers-0-price": "-1"}, "greater than or equal to 0"),
        ({"ticket_tiers-0-total_quantity": "-5"}, "greater than or equal to 0"),
        ({"ticket_tiers-0-tier_type": "BALCONY"}, "not one of the available choices"),
        (
            {
                "sales_open_at_0": "2031-05-02",
                "sales_open_at_1": "00:00",
                "sales_close_at_0": "2031-05-01",
                "sales_close_at_1": "00:00",
            },
            "Sales must open before they close.",
        ),
        (
            {"sales_open_at_0": "2031-06-01", "sales_open_at_1": "20:00:00"},
            "Sales must open before the concert begins.",
        ),
    ],
)
def test_staff_are_told_what_is_wrong(admin_client, rows, sentence):
    response = admin_client.post("/admin/concerts/concert/add/", inline(**rows))
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert not Concert.objects.exists()


def as_a_draft(concert):
    """The form that hides this concert."""
    rows = inline(status="DRAFT") | {"ticket_tiers-TOTAL_FORMS": "0"}
    return f"/admin/concerts/concert/{concert.pk}/change/", rows


@pytest.mark.parametrize(
    ("status", "reason"),
    [("PUBLISHED", "cannot be hidden"), ("CANCELLED", "This concert was called off")],
)
def test_a_concert_with_sold_tickets_cannot_be_hidden(admin_client, tier, status, reason):
    Concert.objects.update(status=status)
    response = admin_client.post(*as_a_draft(tier.concert))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert Concert.objects.get().status == status


def test_a_concert_that_has_sold_nothing_can_be_hidden(admin_client):
    concert = TicketTierFactory().concert
    response = admin_client.post(*as_a_draft(concert))
    assert response.status_code == 302, response.content.decode()
    assert Concert.objects.get().status == "DRAFT"


def test_stock_and_price_are_read_only_in_the_admin(admin_client, tier):
    url = f"/admin/concerts/tickettier/{tier.pk}/change/"
    response = admin_client.post(
        url,
        {
            "max_per_customer": "4",
            "price": "0.01",
            "total_quantity": "1",
            "available_quantity": "100000",
        },
    )
    assert response.status_code == 302
    assert counters(tier) == (100, 60)
    assert str(tier.price) == "10.00"
    assert tier.max_per_customer == 4


def test_tickets_sold_while_staff_look_at_the_form_stay_sold(admin_client, tier, monkeypatch):
    """The form was read before the sale and is saved after it."""
    save = TicketTierForm.save

    def sell_then_save(form, commit=True):
        stock.take(form.instance, 5, now=NOW)
        return save(form, commit)

    monkeypatch.setattr(TicketTierForm, "save", sell_then_save)
    admin_client.post(f"/admin/concerts/tickettier/{tier.pk}/change/", {"max_per_customer": "4"})
    assert counters(tier) == (100, 55)
    assert tier.max_per_customer == 4


def test_the_concert_page_of_the_admin_shows_tiers_and_changes_none(admin_client, tier):
    url = f"/admin/concerts/concert/{tier.concert.pk}/change/"
    page = admin_client.get(url).content.decode()
    assert "General admission" in page
    assert 'name="ticket_tiers-0-total_quantity"' not in page


def test_a_concert_with_tiers_cannot_be_deleted(admin_client, tier):
    url = f"/admin/concerts/concert/{tier.concert.pk}/delete/"
    admin_client.post(url, {"post": "yes"})
    assert TicketTier.objects.filter(pk=tier.pk).exists()


@pytest.mark.parametrize("model", ["concert", "tickettier"])
def test_lists_and_forms_of_the_admin_open(admin_client, tier, model):
    ConcertFactory()
    for page in ("", "add/", "?q=concert"):
        assert admin_client.get(f"/admin/concerts/{model}/{page}").status_code == 200
