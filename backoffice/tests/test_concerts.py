"""The list of concerts with its figures, the checklist of a concert, and drafts on the site."""

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import UserFactory
from backoffice.figures import standings
from backoffice.tests.random_sales import sell_at_random
from concerts.checklist import checklist
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory, sell
from ticketbook.templatetags.money import money
from ticketbook.tests.forms import form_of

pytestmark = pytest.mark.django_db

LISTED = "/admin/concerts/concert/"
PLAIN_SQL = """
SELECT coalesce(sum(total_price - refunded_total) FILTER (WHERE source = 'ONLINE'), 0),
       coalesce(sum(total_price - refunded_total) FILTER (WHERE source <> 'ONLINE'), 0)
FROM bookings_booking JOIN concerts_tickettier tier ON tier.id = ticket_tier_id
WHERE concert_id = %s AND bookings_booking.status IN ('CONFIRMED', 'CANCELLED')
"""


def text(response):
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def money_by_sql(concert):
    with connection.cursor() as cursor:
        cursor.execute(PLAIN_SQL, [concert.pk])
        return cursor.fetchone()


@pytest.mark.parametrize("seed", range(3))
def test_the_money_of_each_concert_is_that_of_plain_sql(admin_client, seed):
    sell_at_random(seed, now=timezone.now(), days=40)
    listed = admin_client.get(LISTED).context["cl"].result_list
    assert len(listed) == 5
    for concert in listed:
        takings = concert.standing.takings
        assert (takings.online, takings.cash) == money_by_sql(concert)
    assert sum(concert.standing.takings.cash for concert in listed)


def test_the_list_shows_how_full_each_tier_is_and_the_money(admin_client):
    begins = datetime(2031, 6, 1, 23, tzinfo=UTC)
    ga = TicketTierFactory(concert__date=begins, concert__time_zone="America/New_York")
    vip = TicketTierFactory(concert=ga.concert, tier_type="VIP", price=50, total_quantity=40)
    sell(ga, 33), sell(vip, 10)
    TicketTier.objects.filter(pk=vip.pk).update(kept_back=8, available_quantity=22)
    page = text(admin_client.get(LISTED))
    assert "Sun 1 Jun 2031, 19:00 (New York time)" in page
    assert "General admission: 33 of 100" in page
    assert "VIP: 10 of 40, 8 kept back" in page
    assert '<rect class="taken" width="33"' in page
    assert '<rect class="kept" x="25" width="20"' in page
    assert '<td class="field-paid">$0.00</td>' in page
    assert "style=" not in page[page.index("result_list") :]


def test_figures_are_shown_to_whoever_may_see_them(staff_who_may):
    TicketTierFactory()
    assert "General admission" not in text(staff_who_may("view_concert").get(LISTED))
    page = text(staff_who_may("view_concert", "view_tickettier").get(LISTED))
    assert "General admission: 0 of 100" in page
    assert "$" not in page
    assert "$0.00" in text(staff_who_may("view_concert", "view_booking").get(LISTED))


def test_figures_are_counted_for_the_concerts_of_the_page_only(
    admin_client, django_assert_num_queries
):
    for _ in range(52):
        TicketTierFactory()
    admin_client.get(LISTED)
    with django_assert_num_queries(8) as queries:
        admin_client.get(LISTED)
    shown = [q["sql"] for q in queries if "concerts_tickettier" in q["sql"]]
    assert len(shown) == 1
    assert shown[0].count("::uuid") == 50
    with django_assert_num_queries(9):  # first the keys of that page
        assert len(admin_client.get(f"{LISTED}?p=2").context["cl"].result_list) == 2


def test_the_list_is_found_without_accents_and_filtered(admin_client):
    ConcertFactory(name="Café de Flore"), ConcertFactory(status="DRAFT")
    for query, number in (("q=cafe", 1), ("q=CAFÉ+testers", 1), ("status__exact=DRAFT", 1)):
        assert admin_client.get(f"{LISTED}?{query}").context["cl"].result_count == number


def test_a_concert_without_tiers_has_no_figures():
    concert = ConcertFactory()
    [standing] = standings([concert], with_money=True).values()
    assert (standing.tiers, standing.takings.online) == ([], Decimal(0))
    assert standings([], with_money=True) == {}


# --- The checklist ------------------------------------------------------------------------------


def items(concert):
    concert = Concert.objects.with_tiers().get(pk=concert.pk)
    return {item.name: item for item in checklist(concert, timezone.now())}


def is_open(concert):
    return {name for name, item in items(concert).items() if not item.is_done}


def test_a_new_draft_has_everything_to_do_and_links_to_the_places(admin_client):
    concert = ConcertFactory(status="DRAFT")
    assert is_open(concert) == {"Tiers", "Prices", "Sales times", "Description"}
    page = text(admin_client.get(f"{LISTED}{concert.pk}/change/"))
    assert "Before it is published" in page
    places = re.findall(r'<span><a href="#([\w-]+)">', page)
    assert len(places) == 4
    for place in places:
        assert f'id="{place}"' in page, place


def test_what_is_set_up_is_ticked_off():
    tier = TicketTierFactory(concert__description="Loud.")
    opens = timezone.now() + timedelta(days=1)
    Concert.objects.update(sales_open_at=opens)
    assert is_open(tier.concert) == set()
    assert items(tier.concert)["Tiers"].words == "1 tier with 100 tickets."
    assert items(tier.concert)["Prices"].words == f"A ticket costs {money(tier.price)}."
    TicketTierFactory(concert=tier.concert, tier_type="VIP", price=0)
    assert items(tier.concert)["Prices"].words == "A ticket of VIP costs nothing. Is that meant?"
    TicketTier.objects.update(price=10, total_quantity=0, available_quantity=0)
    assert is_open(tier.concert) == {"Tiers"}
    TicketTier.objects.update(total_quantity=5)
    Concert.objects.update(description=" \n", sales_open_at=None, sales_close_at=timezone.now())
    assert is_open(tier.concert) == {"Description", "Sales times"}
    assert "nothing can be bought" in items(tier.concert)["Sales times"].words


def test_what_is_over_or_was_called_off_has_no_checklist(admin_client):
    for changes in ({"date": timezone.now()}, {"status": "CANCELLED"}):
        concert = ConcertFactory(**changes)
        assert "checklist" not in text(admin_client.get(f"{LISTED}{concert.pk}/change/"))


# --- The form -----------------------------------------------------------------------------------


def form_of_concert(client, concert):
    return form_of(client.get(f"{LISTED}{concert.pk}/change/"), "concert_form")


def test_the_form_shows_the_status_and_offers_no_other(admin_client):
    concert = ConcertFactory()
    page = text(admin_client.get(f"{LISTED}{concert.pk}/change/"))
    assert '<div class="readonly">Published</div>' in page
    assert '<select name="status"' not in page
    assert form_of_concert(admin_client, concert)["status"] == ["PUBLISHED"]
    new = text(admin_client.get(f"{LISTED}add/"))
    statuses = re.search(r'<select name="status".*?</select>', new, re.DOTALL)[0]
    assert re.findall(r'value="(\w+)"', statuses) == ["DRAFT", "PUBLISHED"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"price": "10.123"}, "no more than 2 decimal places"),
        ({"price": "-1"}, "greater than or equal to 0"),
        ({"price": "99999999999"}, "no more than"),
        ({"total_quantity": "-1"}, "greater than or equal to 0"),
        ({"total_quantity": "99999999999"}, "less than or equal to 2147483647"),
        ({"tier_type": "VIP"}, "The concert has a tier of this type already."),
    ],
)
def test_a_tier_that_cannot_be_gets_a_sentence_and_nothing_is_saved(admin_client, line, sentence):
    vip = TicketTierFactory(tier_type="VIP")
    sent = form_of_concert(admin_client, vip.concert) | {"name": ["Another name"]}
    tier = {"tier_type": "GA", "price": "10", "total_quantity": "5", "max_per_customer": ""} | line
    sent |= {f"ticket_tiers-1-{name}": [value] for name, value in tier.items()}
    sent |= {"ticket_tiers-TOTAL_FORMS": ["2"], "_save": ["Save"]}
    page = text(admin_client.post(f"{LISTED}{vip.concert_id}/change/", sent))
    assert sentence in page
    assert TicketTier.objects.count() == 1
    assert Concert.objects.get().name == vip.concert.name


# --- How staff see a draft on the site ----------------------------------------------------------


def test_view_on_site_leads_staff_to_the_page_of_a_draft(admin_client):
    tier = TicketTierFactory(concert__status="DRAFT", concert__description="Loud.")
    site = f"/concerts/{tier.concert_id}/"
    assert f'href="{site}"' in text(admin_client.get(f"{LISTED}{tier.concert_id}/change/"))
    page = admin_client.get(site)
    assert "This is a draft: only staff see it." in text(page)
    assert "Loud." in text(page)
    assert "<form" not in text(page)[text(page).index("<main") :]
    assert page["Cache-Control"] == "no-store"


def test_nobody_else_sees_a_draft_before_or_after_staff_have(admin_client, staff_who_may):
    concert = TicketTierFactory(concert__status="DRAFT").concert
    urls = [f"/concerts/{concert.pk}/", f"/concerts/{concert.pk}/left/"]
    urls += [f"/api/v1/concerts/{concert.pk}", f"/api/v1/concerts/{concert.pk}/availability"]
    customer = Client()
    customer.force_login(UserFactory())
    for _ in range(2):
        for visitor in (Client(), customer, staff_who_may("view_booking")):
            assert {visitor.get(url).status_code for url in urls} == {404}
        admin = Client()
        admin.force_login(UserFactory(is_staff=True, is_superuser=True))
        assert admin.get(urls[0]).status_code == 200
        assert {admin.get(url).status_code for url in urls[1:]} == {404}


def test_a_concert_that_is_not_there_is_not_found_by_staff_either(admin_client):
    gone = ConcertFactory()
    gone.delete()
    assert admin_client.get(f"/concerts/{gone.pk}/").status_code == 404
