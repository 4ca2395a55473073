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
from bookings.payments import Outcome
from bookings.settling import settle
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def every_payment_succeeds(settings):
    settings.PAYMENT_SUCCESS_RATE = 1


@pytest.fixture
def as_ann(client, ann):
    client.force_login(ann)
    return client


def choice(tier, quantity=2, key=None):
    return {
        "tier": str(tier.pk),
        "quantity": str(quantity),
        "idempotency_key": str(key or uuid.uuid4()),
        "concert": str(tier.concert_id),
    }


def post(client, fields):
    return client.post("/bookings/", fields)


def drawn_key(response):
    return re.search(r'name="idempotency_key" value="([^"]*)"', response.content.decode())[1]


def page_of(client, booking):
    response = client.get(f"/bookings/{booking.pk}/")
    assert response.status_code == 200
    return response.content.decode()


# --- Booking ----------------------------------------------------------------------------------


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


def test_a_post_without_the_token_is_refused_kindly(ann, tier):
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


def test_a_double_click_leads_to_the_booking_that_is_in_progress(as_ann, ann, tier, book):
    key = uuid.uuid4()
    booking = book(ann, tier, 2, key=key)
    Booking.objects.filter(pk=booking.pk).update(status="PENDING", payment_status="PENDING")
    response = post(as_ann, choice(tier, 2, key))
    assert (response.status_code, response.url) == (303, f"/bookings/{booking.pk}/")


@pytest.mark.parametrize(("rate", "outage", "status"), [(0, False, "FAILED"), (1, True, "PENDING")])
def test_a_decline_and_a_silence_lead_to_the_booking_too(
    as_ann, tier, settings, rate, outage, status
):
    settings.PAYMENT_SUCCESS_RATE, settings.PAYMENT_OUTAGE = rate, outage
    response = post(as_ann, choice(tier))
    booking = Booking.objects.get()
    assert booking.status == status
    assert (response.status_code, response.url) == (303, f"/bookings/{booking.pk}/")


# --- Refusals ---------------------------------------------------------------------------------


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
    # What is corrected can be sent.
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


def test_unknown_tier_is_not_found(as_ann, tier):
    assert post(as_ann, {**choice(tier), "tier": uuid.uuid4()}).status_code == 404


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


# --- Anonymous visitors -----------------------------------------------------------------------


def test_an_anonymous_choice_survives_logging_in(client, ann, tier):
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP)
    response = post(client, choice(tier, 6))
    assert response.status_code == 303
    door = urlsplit(response.url)
    back = parse_qs(door.query)["next"][0]
    assert door.path == "/accounts/login/"
    assert "Your choice is kept" in client.get(response.url).content.decode()
    client.force_login(ann)
    html = client.get(back).content.decode()
    assert f'value="{tier.pk}" required checked' in html
    assert 'value="6" required checked' in html
    assert not Booking.objects.exists()


def test_an_anonymous_choice_that_is_wrong_leads_to_the_concert_all_the_same(client, tier):
    response = post(client, {**choice(tier, 99), "tier": "x"})
    back = parse_qs(urlsplit(response.url).query)["next"][0]
    assert back == f"/concerts/{tier.concert_id}/?"


@pytest.mark.parametrize("path", ["/bookings/", f"/bookings/{uuid.uuid4()}/",
                                  f"/bookings/{uuid.uuid4()}/cancellation/"])  # fmt: skip
def test_bookings_are_behind_log_in(client, path):
    assert client.get(path).url == f"/accounts/login/?next={path}"


# --- One booking ------------------------------------------------------------------------------


def test_confirmed_booking_says_what_when_where_and_how_much(as_ann, ann, tier, book):
    html = page_of(as_ann, book(ann, tier, 3))
    concert = tier.concert
    for fact in [concert.name, concert.artist, concert.venue, "3 × General admission", "$30.00"]:
        assert fact in html
    assert f'datetime="{concert.date.isoformat()}"' in html
    assert "Your tickets are booked" in html
    assert "Cancel this booking" in html
    assert "refresh" not in html


def test_pending_booking_reloads_itself(as_ann, ann, tier, book, settings):
    settings.PAYMENT_OUTAGE = True
    html = page_of(as_ann, book(ann, tier))
    assert '<meta http-equiv="refresh" content="3">' in html
    assert "Waiting for your payment" in html
    assert "Cancel this booking" not in html


def test_declined_booking_offers_another_try(as_ann, ann, tier, book, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    html = page_of(as_ann, book(ann, tier, 4))
    assert "Nothing was charged" in html
    assert f"/concerts/{tier.concert_id}/?tier={tier.pk}&amp;quantity=4" in html


def test_expired_booking_says_where_the_money_is(as_ann, ann, tier, take_hold, settings):
    settings.PAYMENT_OUTAGE = True
    booking = settle(take_hold(ann, tier), Outcome.NOT_FOUND, now=timezone.now())
    assert "You were not charged" in page_of(as_ann, booking)
    settle(booking, Outcome.SUCCEEDED, now=timezone.now())
    assert "is on its way back" in page_of(as_ann, booking)
    Booking.objects.update(payment_status="REFUNDED")
    assert "was sent back" in page_of(as_ann, booking)


def test_booking_of_a_concert_called_off_offers_the_money_back(as_ann, ann, tier, book):
    booking = book(ann, tier)
    Concert.objects.update(status=Concert.Status.CANCELLED)
    assert "the money comes back" in page_of(as_ann, booking)


def test_bobs_booking_is_not_there_for_ann(as_ann, bob, tier, book):
    booking = book(bob, tier)
    for path in [f"/bookings/{booking.pk}/", f"/bookings/{booking.pk}/cancellation/"]:
        assert as_ann.get(path).status_code == 404
    assert as_ann.post(f"/bookings/{booking.pk}/cancellation/").status_code == 404
    assert Booking.objects.get().status == "CONFIRMED"


# --- Cancelling -------------------------------------------------------------------------------


def cancel(client, booking):
    return client.post(f"/bookings/{booking.pk}/cancellation/", follow=True).content.decode()


def test_cancelling_asks_first_and_then_gives_the_tickets_back(as_ann, ann, tier, book, left):
    booking = book(ann, tier, 2)
    asked = as_ann.get(f"/bookings/{booking.pk}/cancellation/").content.decode()
    assert "Cancel this booking?" in asked
    assert "csrfmiddlewaretoken" in asked
    assert left(tier) == 98
    assert "$20.00 was sent back to you" in cancel(as_ann, booking)
    assert left(tier) == 100


def test_cancelling_twice_changes_nothing_more(as_ann, ann, tier, book, left):
    booking = book(ann, tier, 2)
    for _ in range(2):
        assert "$20.00 was sent back to you" in cancel(as_ann, booking)
    assert left(tier) == 100
    assert as_ann.get(f"/bookings/{booking.pk}/cancellation/").status_code == 302


def test_refund_that_is_still_owed_is_told(as_ann, ann, tier, book, settings):
    booking = book(ann, tier)
    settings.PAYMENT_OUTAGE = True
    assert "is on its way back" in cancel(as_ann, booking)


def test_a_concert_that_has_begun_cannot_be_cancelled(as_ann, ann, tier, book):
    booking = book(ann, tier)
    Concert.objects.update(date=timezone.now() - timedelta(minutes=1))
    assert "Cancel this booking" not in page_of(as_ann, booking)
    assert "before its concert begins" in cancel(as_ann, booking)


def test_a_payment_that_is_not_known_cannot_be_cancelled_yet(as_ann, ann, tier, book, settings):
    settings.PAYMENT_OUTAGE = True
    assert "is being worked on" in cancel(as_ann, book(ann, tier))


# --- My bookings ------------------------------------------------------------------------------


def test_my_bookings_are_mine_and_newest_first(as_ann, ann, bob, book):
    first, second, bobs = (
        TicketTierFactory(concert__name=name) for name in ["First", "Second", "Bob's"]
    )
    book(ann, first)
    book(ann, second)
    book(bob, bobs)
    html = as_ann.get("/bookings/").content.decode()
    assert html.index("Second") < html.index("First")
    assert "Bob" not in html


def test_no_bookings_yet_leads_to_the_concerts(as_ann):
    assert "You have no bookings yet" in as_ann.get("/bookings/").content.decode()


def test_older_bookings_are_linked(as_ann, ann, tier, book):
    oldest = book(ann, tier)
    for _ in range(20):
        book(ann, tier)
    first = as_ann.get("/bookings/")
    assert len(first.context["bookings"]) == 20
    second = as_ann.get("/bookings/" + first.context["next_query"])
    assert second.context["bookings"] == [oldest]
    assert as_ann.get("/bookings/?cursor=nonsense").status_code == 404


@pytest.mark.parametrize("bookings", [1, 5])
def test_bookings_take_three_queries(as_ann, ann, book, django_assert_num_queries, bookings):
    made = [book(ann, TicketTierFactory()) for _ in range(bookings)]
    with django_assert_num_queries(3):  # the session, its user, the bookings
        as_ann.get("/bookings/")
    with django_assert_num_queries(3):
        page_of(as_ann, made[0])


def test_concert_names_are_text_and_not_markup(as_ann, ann, book):
    booking = book(ann, TicketTierFactory(concert__name="<script>", concert__venue="<script>"))
    for path in ["/bookings/", f"/bookings/{booking.pk}/", f"/bookings/{booking.pk}/cancellation/"]:
        assert "<script" not in as_ann.get(path).content.decode()
