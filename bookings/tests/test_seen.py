"""A form carries what its page showed. If any of it is not so any more, the buyer is asked again."""

import html
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bookings.models import Booking
from bookings.seen import Seen
from bookings.tests.pages import choice, drawn_key, form_of, post
from bookings.tests.wishing import hold, wish
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory, sell

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

BEGINS = datetime(2030, 12, 11, 0, 30, tzinfo=UTC)


@pytest.fixture
def vip():
    return TicketTierFactory(
        tier_type=TicketTier.Type.VIP,
        price="50.00",
        concert__name="Northern  Lights & “Friends”",
        concert__artist="Motörhead",
        concert__venue="Town Hall",
        concert__date=BEGINS,
    )


@pytest.fixture
def ga(vip):
    return TicketTierFactory(concert=vip.concert, price="10.00")


def words(response):
    """What people read on a page."""
    text = re.sub(r"<[^>]+>", "", response.content.decode())
    return " ".join(html.unescape(text).split())


def asked_again(response, *sentences, status=409):
    assert response.status_code == status
    assert not Booking.objects.exists()
    for sentence in (*sentences, "Nothing was charged."):
        assert sentence in words(response)
    return response


def change(thing, **values):
    type(thing).objects.filter(pk=thing.pk).update(**values)


# --- What may have changed ----------------------------------------------------------------------


def test_a_form_whose_concert_is_as_it_was_books(as_ann, vip, ga):
    response = post(as_ann, form_of(as_ann, vip))
    assert response.status_code == 303
    assert Booking.objects.get().total_price == 100


@pytest.mark.parametrize("price", ["55.00", "45.00", "0.00"])
def test_another_price_is_asked_about_with_both_prices(as_ann, vip, ga, price):
    fields = form_of(as_ann, vip, 3)
    change(vip, price=price)
    response = asked_again(
        post(as_ann, fields), f"The price of VIP went from $50.00 to ${price}.", "Town Hall"
    )
    page = response.content.decode()
    assert f'value="{vip.pk}" required checked' in page
    assert 'value="3" required checked' in page
    assert drawn_key(response) != fields["idempotency_key"]
    assert "<title>Error:" in page


def test_the_page_that_asks_again_books_at_the_new_price(as_ann, vip):
    fields = form_of(as_ann, vip)
    change(vip, price="55.00")
    page = post(as_ann, fields).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    renewed = {name: html.unescape(value) for name, value in hidden.items()}
    response = post(as_ann, {**renewed, "tier": str(vip.pk), "quantity": "2"})
    assert response.status_code == 303
    assert Booking.objects.get().unit_price == 55


def test_the_price_of_another_kind_is_no_matter(as_ann, vip, ga):
    fields = form_of(as_ann, vip)
    change(ga, price="99.00")
    assert post(as_ann, fields).status_code == 303


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        ({"venue": "Arena <b>"}, "The venue went from “Town Hall” to “Arena <b>”."),
        ({"artist": "Slade"}, "The artist went from “Motörhead” to “Slade”."),
        ({"name": "Lights"}, "The name went from “Northern Lights & “Friends”” to “Lights”."),
        ({"date": BEGINS + timedelta(days=1)}, "The date went from Wed 11 Dec 2030"),
        ({"date": BEGINS + timedelta(minutes=1)}, "The date went from Wed 11 Dec 2030"),
    ],
)
def test_a_concert_that_changed_is_asked_about(as_ann, vip, now, sentence):
    fields = form_of(as_ann, vip)
    change(vip.concert, **now)
    asked_again(post(as_ann, fields), sentence)


def test_all_that_changed_is_told_at_once(as_ann, vip):
    fields = form_of(as_ann, vip)
    change(vip, price="55.00")
    change(vip.concert, venue="Arena", date=BEGINS + timedelta(days=7))
    response = asked_again(post(as_ann, fields), "from $50.00 to $55.00", "to “Arena”")
    assert "Wed 18 Dec 2030" in words(response)


def test_another_kind_under_the_same_ticket_is_asked_about(as_ann, vip):
    fields = form_of(as_ann, vip)
    change(vip, tier_type=TicketTier.Type.FRONT_ROW)
    asked_again(post(as_ann, fields), "The tickets that you chose were VIP, and are now Front row.")


@pytest.mark.parametrize(
    "same",
    [
        {"date": BEGINS.replace(microsecond=480971)},
        {"date": BEGINS.astimezone(timezone(timedelta(hours=-5)))},
        {"artist": "Moto\u0308rhead"},
        {"name": "Northern Lights & “Friends” "},
        {"description": "Doors at seven."},
        {"sales_close_at": BEGINS - timedelta(hours=1)},
    ],
)
def test_another_spelling_of_the_same_is_no_change(as_ann, vip, same):
    fields = form_of(as_ann, vip)
    change(vip.concert, **same)
    assert post(as_ann, fields).status_code == 303


@pytest.mark.parametrize(
    "spelling", ["2030-12-10T19:30:00-05:00", "2030-12-11T00:30:00.25Z", "2030-12-11T00:30+00:00"]
)
def test_a_form_may_spell_the_same_instant_otherwise(as_ann, vip, spelling):
    assert post(as_ann, {**form_of(as_ann, vip), "seen_date": spelling}).status_code == 303


# --- What has gone ------------------------------------------------------------------------------


def test_a_removed_kind_of_ticket_is_told_on_the_page_of_its_concert(as_ann, vip, ga):
    fields = form_of(as_ann, vip, 3)
    vip.delete()
    response = asked_again(post(as_ann, fields), "VIP at $50.00 is no longer sold.", "Town Hall")
    assert 'value="3" required checked' in response.content.decode()
    assert f'value="{ga.pk}" required' in response.content.decode()


def test_a_kind_that_was_removed_and_made_anew_stays_chosen(as_ann, vip, ga):
    fields = form_of(as_ann, vip)
    vip.delete()
    new = TicketTierFactory(concert=vip.concert, tier_type=TicketTier.Type.VIP, price="55.00")
    response = asked_again(post(as_ann, fields), "The price of VIP went from $50.00 to $55.00.")
    assert f'value="{new.pk}" required checked' in response.content.decode()


def test_a_removed_kind_is_told_to_a_client_that_saw_nothing_too(as_ann, vip, ga):
    fields = choice(vip)
    vip.delete()
    asked_again(post(as_ann, fields), "The kind of ticket that you chose is no longer sold.")


@pytest.mark.parametrize("gone", ["deleted", "hidden"])
@pytest.mark.parametrize("logged_in", [True, False])
def test_a_concert_that_has_gone_is_told_with_a_word_about_money(client, ann, vip, gone, logged_in):
    if logged_in:
        client.force_login(ann)
    fields = form_of(client, vip)
    if gone == "deleted":
        vip.delete()
        vip.concert.delete()
    else:
        change(vip.concert, status=Concert.Status.DRAFT)
    response = post(client, fields)
    assert response.status_code == 410
    assert "Northern Lights & “Friends” is not sold here any more" in words(response)
    assert "nothing was charged" in words(response)
    assert not Booking.objects.exists()


def test_who_was_never_shown_a_draft_is_not_told_of_it(as_ann):
    draft = TicketTierFactory(concert__status=Concert.Status.DRAFT, concert__name="Secret")
    for fields in (choice(draft), {**choice(draft), "tier": str(uuid.uuid4())}, {}):
        response = post(as_ann, fields)
        assert response.status_code == 404
        assert "nothing was charged" in words(response)
        assert "Secret" not in words(response)


@pytest.mark.parametrize("logged_in", [True, False])
def test_a_called_off_concert_is_told_with_a_word_about_money(client, ann, vip, logged_in):
    if logged_in:
        client.force_login(ann)
    fields = form_of(client, vip)
    change(vip.concert, status=Concert.Status.CANCELLED)
    response = asked_again(post(client, fields), "This concert has been called off.")
    assert 'name="idempotency_key"' not in response.content.decode()


# --- Changes beside another refusal -------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"quantity": ""}, {"quantity": "99"}, {"idempotency_key": ""}])
def test_a_form_that_is_shown_again_for_another_reason_tells_changes_too(as_ann, vip, wrong):
    fields = form_of(as_ann, vip)
    change(vip, price="55.00")
    asked_again(post(as_ann, {**fields, **wrong}), "from $50.00 to $55.00", status=400)


def test_too_few_tickets_and_another_price_are_both_told(as_ann, vip):
    fields = form_of(as_ann, vip)
    change(vip, price="55.00")
    sell(vip, 99)
    asked_again(post(as_ann, fields), "1 is left", "from $50.00 to $55.00")


def test_a_form_that_booked_answers_with_its_booking_whatever_changed(as_ann, vip):
    fields = form_of(as_ann, vip)
    first = post(as_ann, fields)
    change(vip, price="55.00")
    change(vip.concert, venue="Arena")
    again = post(as_ann, fields)
    assert (again.status_code, again.url) == (303, first.url)
    assert Booking.objects.get().unit_price == 50


# --- Forms of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [[], ["seen_venue"], ["seen_date", "seen_artist"]])
def test_what_a_form_does_not_carry_is_not_expected(as_ann, vip, kept):
    fields = form_of(as_ann, vip)
    seen = [name for name in fields if name.startswith("seen_") and name not in kept]
    for name in seen:
        del fields[name]
    change(vip, price="55.00")
    assert post(as_ann, fields).status_code == 303


def test_an_empty_field_was_not_shown(as_ann, vip):
    fields = form_of(as_ann, vip)
    fields |= {name: "" for name in fields if name.startswith("seen_")}
    assert post(as_ann, fields).status_code == 303


@pytest.mark.parametrize("name", ["price", "kind", "date", "venue", "name", "artist"])
@pytest.mark.parametrize(
    "value",
    ["x", "NaN", "Infinity", "-1", "1e400", "9" * 5000, "\x00", "\ud800", "0001-01-01T00:00+23:59",
     "9999-12-31T23:59-23:59", "2030-12-11", "2030-12-11T00:30", "[]", "<script>", "''"],
)  # fmt: skip
def test_nonsense_is_asked_about_and_is_no_error(as_ann, vip, name, value):
    field = f"seen_{name}_{vip.pk.hex}" if name in {"price", "kind"} else f"seen_{name}"
    fields = form_of(as_ann, vip)
    assert field in fields
    body = {**fields, field: value.encode("utf-8", "replace").decode()}
    response = post(as_ann, body)
    assert response.status_code in {400, 409}
    assert "<script>" not in response.content.decode()
    assert drawn_key(response) != fields["idempotency_key"]
    assert not Booking.objects.exists()


# --- Strangers ----------------------------------------------------------------------------------


def test_a_stranger_is_asked_before_logging_in(client, vip):
    fields = form_of(client, vip)
    change(vip, price="55.00")
    asked_again(post(client, fields), "from $50.00 to $55.00")


def test_what_changes_while_somebody_logs_in_is_told_on_the_page(client, ann, vip):
    response = post(client, form_of(client, vip))
    back = parse_qs(urlsplit(response.url).query)["next"][0]
    client.force_login(ann)
    assert "has changed" not in words(client.get(back))
    change(vip, price="55.00")
    change(vip.concert, date=BEGINS + timedelta(days=1))
    page = words(client.get(back))
    assert "The price of VIP went from $50.00 to $55.00." in page
    assert "The date went from" in page
    vip.delete()
    assert "VIP at $50.00 is no longer sold." in words(client.get(back))
    vip.concert.delete()
    response = client.get(back)
    assert response.status_code == 404
    assert "nothing was charged" in words(response)


@pytest.mark.parametrize("junk", ["x", "-1", "NaN", "<script>", "\x00", "9" * 5000])
def test_junk_in_the_address_tells_no_change(client, vip, junk):
    query = {"tier": str(vip.pk), "price": junk, "date": junk, "kind": junk, "venue": junk}
    response = client.get(f"/concerts/{vip.concert_id}/", query)
    assert response.status_code == 200
    assert "went from" not in words(response)


# --- Under the lock -----------------------------------------------------------------------------


def test_what_was_seen_costs_no_statement(ann, vip):
    price = Decimal("50.00")
    seen = Seen(kind="VIP", price=price, date=BEGINS, venue="Town Hall", max_total=price)
    hold(wish(ann, vip))  # what is asked once is asked
    counts = []
    for expected in (None, seen):
        with CaptureQueriesContext(connection) as queries:
            hold(wish(ann, vip, seen=expected))
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_form_of_the_page_passes_the_csrf_check(ann, vip):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    assert post(strict, form_of(strict, vip)).status_code == 303


def test_a_corrected_time_zone_is_asked_about_by_the_clocks_of_both(as_ann, vip):
    """20:30 in New York becomes 20:30 in Berlin: another moment, and the page showed the first one."""
    change(
        vip.concert, time_zone="America/New_York", date=datetime(2030, 12, 12, 1, 30, tzinfo=UTC)
    )
    form = form_of(as_ann, vip)
    berlin = datetime(2030, 12, 11, 19, 30, tzinfo=UTC)
    change(vip.concert, time_zone="Europe/Berlin", date=berlin)
    asked_again(
        post(as_ann, form),
        "from Wed 11 Dec 2030, 20:30 (New York time) to Wed 11 Dec 2030, 20:30 (Berlin time)",
    )


def test_the_same_moment_by_another_clock_is_asked_about(as_ann, vip):
    form = form_of(as_ann, vip)
    change(vip.concert, time_zone="Asia/Tokyo")
    asked_again(post(as_ann, form), "UTC to Wed 11 Dec 2030, 09:30 (Tokyo time)")
