"""Booking on the pages: the form, its refusals, and visitors who have not logged in."""

import re
import uuid
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import OperationalError
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from bookings.models import Booking
from bookings.tests.pages import choice, drawn_key, post
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


# --- Booking ------------------------------------------------------------------------------------


def test_a_booking_leads_to_its_own_page(as_ann, ann, tier, left):
    response = post(as_ann, choice(tier, 3))
    booking = Booking.objects.get()
    assert response.status_code == 303
    assert response.url == f"/bookings/{booking.pk}/"
    assert (booking.user, booking.quantity, booking.status) == (ann, 3, "CONFIRMED")
    assert left(tier) == 97


def test_the_form_of_the_page_books_as_it_stands(ann, tier):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    html = strict.get(f"/concerts/{tier.concert_id}/").content.decode()
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    assert post(strict, {**fields, "tier": tier.pk, "quantity": 1}).status_code == 303
    assert Booking.objects.count() == 1


def test_a_post_without_the_csrf_token_is_refused_with_an_explanation(ann, tier):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    response = post(strict, choice(tier))
    assert response.status_code == 403
    assert "got out of date" in response.content.decode()
    assert not Booking.objects.exists()


def test_the_same_form_twice_books_once_and_says_so(as_ann, tier, left):
    fields = choice(tier)
    first, second = post(as_ann, fields), post(as_ann, fields)
    assert first.url == second.url
    assert Booking.objects.count() == 1
    assert left(tier) == 98
    assert "It was booked once" in as_ann.get(second.url).content.decode()


def test_a_double_click_leads_to_the_booking_in_progress(as_ann, ann, tier, book):
    key = uuid.uuid4()
    booking = book(ann, tier, 2, key=key)
    Booking.objects.filter(pk=booking.pk).update(status="PENDING", payment_status="PENDING")
    response = post(as_ann, choice(tier, 2, key))
    assert (response.status_code, response.url) == (303, f"/bookings/{booking.pk}/")


@pytest.mark.parametrize(("rate", "outage", "status"), [(0, False, "FAILED"), (1, True, "PENDING")])
def test_a_declined_or_unanswered_payment_leads_to_the_booking_too(
    as_ann, tier, settings, rate, outage, status
):
    settings.PAYMENT_SUCCESS_RATE, settings.PAYMENT_OUTAGE = rate, outage
    response = post(as_ann, choice(tier))
    booking = Booking.objects.get()
    assert booking.status == status
    assert (response.status_code, response.url) == (303, f"/bookings/{booking.pk}/")


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("tier", value) for value in ["", "VIP", "1", "' OR 1=1", "\x00"]],
        *[("quantity", value) for value in ["", "0", "11", "-1", "1.5", "abc", str(10**12), "٣x",
                                            "9" * 5000, "1e1", "\x00"]],
        *[("idempotency_key", value) for value in ["", "abc", "\x00"]],
    ],
)  # fmt: skip
def test_a_wrong_choice_is_told_on_the_page_and_books_nothing(as_ann, tier, left, field, value):
    fields = {**choice(tier, 7), field: value}
    response = post(as_ann, fields)
    html = response.content.decode()
    assert response.status_code == 400
    assert 'role="alert"' in html
    assert "<title>Error:" in html
    assert field == "tier" or f'value="{tier.pk}" required checked' in html
    assert field == "quantity" or 'value="7" required checked' in html
    assert left(tier) == 100
    # The corrected form can be sent.
    again = post(
        as_ann, {**fields, field: choice(tier)[field], "idempotency_key": drawn_key(response)}
    )
    assert again.status_code == 303


@pytest.mark.parametrize("field", ["tier", "quantity", "idempotency_key"])
def test_a_missing_field_is_told_on_the_page(as_ann, tier, field):
    fields = choice(tier)
    del fields[field]
    response = post(as_ann, fields)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()


def test_a_usable_key_is_kept_and_an_unusable_one_is_replaced(as_ann, tier):
    fields = choice(tier, 11)
    assert drawn_key(post(as_ann, fields)) == fields["idempotency_key"]
    assert uuid.UUID(drawn_key(post(as_ann, {**choice(tier), "idempotency_key": "abc"})))


def test_an_unknown_tier_is_told_on_the_page_of_its_concert(as_ann, tier):
    response = post(as_ann, {**choice(tier), "tier": uuid.uuid4()})
    assert response.status_code == 409
    assert "The kind of ticket that you chose is no longer sold" in response.content.decode()


def test_tier_of_a_draft_is_not_found(as_ann):
    draft = TicketTierFactory(concert__status=Concert.Status.DRAFT)
    assert post(as_ann, choice(draft)).status_code == 404


def test_a_form_that_names_no_concert_is_not_found(as_ann):
    assert post(as_ann, {}).status_code == 404


def test_too_few_tickets_are_told_with_what_is_left(as_ann):
    tier = TicketTierFactory(total_quantity=3)
    fields = choice(tier, 5)
    response = post(as_ann, fields)
    html = response.content.decode()
    assert response.status_code == 409
    assert "Not enough tickets" in html
    assert "3 are left" in html
    assert 'value="5" required checked' in html
    assert drawn_key(response) == fields["idempotency_key"]


def test_the_last_ticket_gone_shows_the_concert_sold_out(as_ann, bob, book):
    tier = TicketTierFactory(total_quantity=1)
    book(bob, tier)
    response = post(as_ann, choice(tier, 1))
    assert response.status_code == 409
    assert "It has just sold out" in response.content.decode()


@pytest.mark.parametrize(
    ("concert", "words"),
    [
        ({"sales_open_at": timezone.now() + timedelta(days=1)}, "Sales open on"),
        ({"sales_close_at": timezone.now() - timedelta(days=1)}, "Sales ended"),
        ({"status": Concert.Status.CANCELLED}, "called off"),
    ],
)
def test_a_sale_that_is_closed_says_when(as_ann, concert, words):
    tier = TicketTierFactory(**{f"concert__{name}": value for name, value in concert.items()})
    response = post(as_ann, choice(tier))
    assert response.status_code == 409
    assert "not on sale now" in response.content.decode()
    assert words in response.content.decode()


def test_the_customers_limit_is_told_with_what_they_have(as_ann, ann, book):
    tier = TicketTierFactory(max_per_customer=3)
    book(ann, tier, 2)
    response = post(as_ann, choice(tier, 2))
    assert response.status_code == 409
    assert "The limit is 3, and you have 2 of them" in response.content.decode()


def test_going_back_to_book_something_else_takes_one_more_press(as_ann, tier):
    fields = choice(tier, 1)
    post(as_ann, fields)
    response = post(as_ann, {**fields, "quantity": "4"})
    html = response.content.decode()
    assert response.status_code == 422
    assert "another booking from this page" in html
    assert 'value="4" required checked' in html
    assert drawn_key(response) != fields["idempotency_key"]
    post(as_ann, {**fields, "quantity": "4", "idempotency_key": drawn_key(response)})
    assert sorted(Booking.objects.values_list("quantity", flat=True)) == [1, 4]


def test_a_busy_database_asks_to_try_again(as_ann, tier, monkeypatch):
    def busy(wish):
        raise OperationalError from LockNotAvailable()

    monkeypatch.setattr("bookings.views.place", busy)
    response = post(as_ann, choice(tier))
    assert response.status_code == 503
    assert "go back and press the button again" in response.content.decode()


def test_error_pages_need_no_request():
    for template in ["404.html", "503.html", "403_csrf.html"]:
        assert "Log in" not in render_to_string(template, {"detail": "Busy."})


# --- Anonymous visitors -------------------------------------------------------------------------


def test_an_anonymous_choice_survives_logging_in(client, ann, tier):
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP)
    response = post(client, choice(tier, 6))
    assert response.status_code == 303
    log_in = urlsplit(response.url)
    back = parse_qs(log_in.query)["next"][0]
    assert log_in.path == "/accounts/login/"
    assert "Your choice is kept" in client.get(response.url).content.decode()
    client.force_login(ann)
    html = client.get(back).content.decode()
    assert f'value="{tier.pk}" required checked' in html
    assert 'value="6" required checked' in html
    assert not Booking.objects.exists()


def test_a_wrong_anonymous_choice_still_leads_to_the_concert(client, tier):
    response = post(client, {**choice(tier, 99), "tier": "x"})
    back = parse_qs(urlsplit(response.url).query)["next"][0]
    assert back == f"/concerts/{tier.concert_id}/?"
