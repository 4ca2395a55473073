"""How soon copied responses show a sale, and changes by staff."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from bookings.tests.addresses import API, address, every_address, without_own_fields
from concerts import stock
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from ticketbook.copies import store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


@pytest.fixture
def tier():
    return TicketTierFactory(concert__name="Northern Lights")


# --- Sales --------------------------------------------------------------------------------------


@every_address
def test_on_a_quiet_site_a_sale_shows_at_once(client, tier, url):
    for sold in (85, 90, 99):
        before = client.get(url)
        sell(tier, sold)
        assert without_own_fields(client.get(url)) != without_own_fields(before)


@every_address
def test_in_a_rush_a_sale_shows_within_a_second(client, busy, clock, tier, url):
    before = client.get(url)
    sell(tier, 99)
    assert without_own_fields(client.get(url)) == without_own_fields(before)
    clock.now += store.MAX_AGE
    assert without_own_fields(client.get(url)) != without_own_fields(before)


# --- Changes by staff ---------------------------------------------------------------------------


@pytest.fixture
def staff(db):
    client = Client()
    client.force_login(User.objects.create_superuser("staff@example.com", "x", name="Staff"))
    return client


def concert_form(concert, **changes):
    day = concert.date
    return {
        "name": concert.name,
        "artist": concert.artist,
        "venue": concert.venue,
        "date_0": f"{day:%Y-%m-%d}",
        "date_1": f"{day:%H:%M:%S}",
        "status": concert.status,
        "ticket_tiers-TOTAL_FORMS": 0,
        "ticket_tiers-INITIAL_FORMS": 0,
        **changes,
    }


@every_address
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_stores")
def test_what_staff_change_shows_at_once(client, busy, staff, tier, url):
    client.get(url)
    change = reverse("admin:concerts_concert_change", args=[tier.concert.pk])
    form = concert_form(tier.concert, name="Polar Night")
    Concert.objects.update(name="not yet seen")
    assert b"Northern Lights" in client.get(url).content
    assert staff.post(change, form).status_code == 302
    assert b"Polar Night" in client.get(url).content


@pytest.mark.django_db(transaction=True)
def test_a_concert_that_staff_add_call_off_and_delete_shows_at_once(client, busy, staff):
    def listed():
        return [concert["name"] for concert in client.get(API).json()]

    assert listed() == []
    added = ConcertFactory.build(name="Polar Night")
    staff.post(reverse("admin:concerts_concert_add"), concert_form(added))
    assert listed() == ["Polar Night"]
    concert = Concert.objects.get()
    change = reverse("admin:concerts_concert_change", args=[concert.pk])
    staff.post(change, concert_form(concert, status="DRAFT"))
    assert listed() == []
    staff.post(change, concert_form(concert))
    assert listed() == ["Polar Night"]
    staff.post(change, concert_form(concert, status="CANCELLED"))
    assert listed() == []
    staff.post(reverse("admin:concerts_concert_delete", args=[concert.pk]), {"post": "yes"})
    assert listed() == []

    concert = ConcertFactory(name="Midnight Sun")
    store.forget()
    assert listed() == ["Midnight Sun"]
    chosen = {"action": "delete_selected", "_selected_action": str(concert.pk), "post": "yes"}
    staff.post(reverse("admin:concerts_concert_changelist"), chosen)
    assert listed() == []


@pytest.mark.django_db(transaction=True)
def test_a_tier_that_staff_add_and_change_shows_at_once(client, busy, staff):
    concert = ConcertFactory()
    url = f"/concerts/{concert.pk}/"
    assert b"VIP" not in client.get(url).content
    form = {"concert": concert.pk, "tier_type": "VIP", "price": "10", "total_quantity": "70"}
    assert staff.post(reverse("admin:concerts_tickettier_add"), form).status_code == 302
    assert b"70 left" in client.get(url).content
    change = reverse("admin:concerts_tickettier_change", args=[TicketTier.objects.get().pk])
    assert staff.post(change, {"max_per_customer": 3}).status_code == 302
    assert b"at most 3 for each customer" in client.get(url).content


@pytest.mark.django_db(transaction=True)
def test_a_changed_capacity_shows_at_once(client, busy, tier):
    url = address("availability", tier.concert)
    client.get(url)
    boss = User.objects.create_superuser("boss@example.com", "x", name="Boss")
    stock.change_capacity(
        tier_id=tier.pk, total=250, by=boss, reason="larger hall", now=timezone.now()
    )
    assert client.get(url).json()["tiers"][0]["totalQuantity"] == 250
