"""A site that sells in a currency without decimals accepts and shows whole amounts, through every door."""

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from bookings.errors import RefundNotExact
from bookings.models import Booking, Refund
from bookings.refunding import give_money_back
from bookings.tests.api_client import URL, book_at, by_django, token_of
from concerts.models import TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook import currencies
from ticketbook.asgi import application
from ticketbook.templatetags.money import money

pytestmark = pytest.mark.django_db
NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture(autouse=True)
def yen(settings):
    settings.CURRENCY = "JPY"


@pytest.fixture
def tier():
    return TicketTierFactory(price=Decimal("5000"))


@pytest.fixture
def booking(ledger, ann, tier, book):
    return book(ann, tier, 2)


def new_tier(concert, price):
    return {
        "concert": concert.pk,
        "tier_type": "VIP",
        "price": price,
        "total_quantity": "10",
        "max_per_customer": "",
    }


def with_new_tier(concert, price):
    tier = {f"ticket_tiers-0-{name}": value for name, value in new_tier(concert, price).items()}
    management = {"ticket_tiers-TOTAL_FORMS": 1, "ticket_tiers-INITIAL_FORMS": 0}
    when = {"date_0": f"{concert.date:%Y-%m-%d}", "date_1": f"{concert.date:%H:%M:%S}"}
    same = {name: getattr(concert, name) for name in ("name", "artist", "venue", "status")}
    return tier | management | when | same | {"ticket_tiers-0-id": ""}


# --- What is accepted ---------------------------------------------------------------------------


@pytest.mark.parametrize("price", ["1250.50", "1250.5", "0.01"])
def test_staff_cannot_set_a_price_with_decimals(admin_client, price):
    concert = ConcertFactory()
    pages = {
        "/admin/concerts/tickettier/add/": new_tier(concert, price),
        f"/admin/concerts/concert/{concert.pk}/change/": with_new_tier(concert, price),
    }
    for page, form in pages.items():
        answer = admin_client.post(page, form)
        assert answer.status_code == 200
        assert "no more than 0 decimal places" in answer.content.decode()
    assert not TicketTier.objects.exists()


def test_staff_set_a_whole_price(admin_client):
    concert = ConcertFactory()
    page = f"/admin/concerts/concert/{concert.pk}/change/"
    assert 'step="1"' in admin_client.get("/admin/concerts/tickettier/add/").content.decode()
    assert admin_client.post(page, with_new_tier(concert, "1250")).status_code == 302
    assert TicketTier.objects.get().price == 1250


def test_a_price_in_dollars_still_has_cents(admin_client, settings):
    settings.CURRENCY = "USD"
    tier = new_tier(ConcertFactory(), "12.50")
    assert admin_client.post("/admin/concerts/tickettier/add/", tier).status_code == 302
    assert TicketTier.objects.get().price == Decimal("12.50")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("amount", ["1250.50", "1250.00", "0.50"])
def test_a_goodwill_refund_with_decimals_is_refused(booking, staff, amount):
    options = {"by": staff.email, "reason": "sorry"}
    with pytest.raises(CommandError, match="above 0, like 1250, not"):
        call_command("refund", booking.pk, amount, **options)
    with pytest.raises(CommandError, match="above 0, like 1250, not"):
        call_command("return_tickets", booking.pk, "1", refund=amount, **options)
    assert not Refund.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("currency", "amount"), [("JPY", "0.50"), ("USD", "1.005")])
def test_nobody_owes_less_than_the_smallest_coin(booking, staff, settings, currency, amount):
    settings.CURRENCY = currency
    with pytest.raises(RefundNotExact):
        give_money_back(booking, Decimal(amount), by=staff, note="sorry", now=timezone.now())
    assert not Refund.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("every_payment_succeeds")
def test_the_demo_has_whole_prices():
    call_command("load_demo", concerts=3, bookings=10, stdout=StringIO(), stderr=StringIO())
    assert all(price == int(price) for price in TicketTier.objects.values_list("price", flat=True))


# --- What is shown ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_pages_and_commands_show_whole_amounts(client, booking, tier, staff):
    client.force_login(booking.user)
    for page in (f"/concerts/{tier.concert_id}/", f"/bookings/{booking.pk}/", "/bookings/"):
        shown = client.get(page).content.decode()
        assert f"JPY{NBSP}" in shown
        assert "000.00" not in shown
    said = StringIO()
    call_command("refund", booking.pk, "1250", by=staff.email, reason="sorry", stdout=said)
    assert f"JPY{NBSP}1,250 was sent back." in said.getvalue()
    with pytest.raises(CommandError, match="AMOUNT: 8750 of the price is left"):
        call_command("refund", booking.pk, "9000", by=staff.email, reason="sorry")


@pytest.mark.django_db(transaction=True)
def test_the_back_office_shows_whole_amounts(admin_client, booking, tier, staff):
    give_money_back(booking, Decimal(1250), by=staff, note="sorry", now=timezone.now())
    for page in (
        "/admin/bookings/booking/",
        f"/admin/bookings/booking/{booking.pk}/change/",
        "/admin/bookings/refund/",
        f"/admin/bookings/refund/{Refund.objects.get().pk}/change/",
        "/admin/concerts/tickettier/",
        f"/admin/concerts/tickettier/{tier.pk}/change/",
        f"/admin/concerts/concert/{tier.concert_id}/change/",
    ):
        shown = admin_client.get(page).content.decode()
        assert "000" in shown or "1250" in shown
        assert "000.00" not in shown, page
        assert "1250.00" not in shown, page


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("our_host", "every_payment_succeeds")
def test_the_api_writes_whole_amounts_on_the_loop_and_on_threads(ann, tier, client):
    token = token_of(ann)
    for front in (application, by_django):
        body = book_at(front, tier, token).json()
        assert (body["totalPrice"], body["refundedTotal"]) == ("5000", "0")
    read = client.get(f"{URL}/{body['id']}", headers={"Authorization": f"Token {token}"}).json()
    assert (read["totalPrice"], read["ticketTier"]["price"]) == ("5000", "5000")
    for path in ("", "/availability"):
        concert = client.get(f"/api/v1/concerts/{tier.concert_id}{path}").json()
        assert {t["price"] for t in concert.get("ticketTiers", concert.get("tiers"))} == {"5000"}


def test_an_amount_from_before_the_currency_was_changed_is_not_rounded(client, settings):
    settings.CURRENCY = "USD"
    tier = TicketTierFactory(price=Decimal("12.50"))
    settings.CURRENCY = "JPY"
    assert money(tier.price) == f"JPY{NBSP}12.50"
    read = client.get(f"/api/v1/concerts/{tier.concert_id}").json()
    assert read["ticketTiers"][0]["price"] == "12.50"


# --- The table ----------------------------------------------------------------------------------


def test_a_code_is_in_one_list_only():
    lists = [
        currencies.WITHOUT_DECIMALS,
        currencies.WITH_TWO,
        currencies.WITH_THREE,
        currencies.WITH_FOUR,
        currencies.NOT_FOR_SALES,
    ]
    assert len(set().union(*lists)) == sum(map(len, lists))
    assert all(len(code) == 3 and code.isupper() for code in set().union(*lists))


def test_money_columns_stay_as_they_are():
    for model, column in ((TicketTier, "price"), (Booking, "total_price"), (Refund, "amount")):
        path, options = model._meta.get_field(column).deconstruct()[1::2]
        assert path == "django.db.models.DecimalField"
        assert (options["max_digits"], options["decimal_places"]) == (10, 2)
