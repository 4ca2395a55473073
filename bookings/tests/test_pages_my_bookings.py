"""The pages of bookings that were made: the list, one booking, and cancelling it."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.utils import timezone

from bookings import refunding
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.settling import settle
from bookings.tests.pages import checked, drawn, page_of
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


# --- One booking --------------------------------------------------------------------------------


def test_confirmed_booking_says_what_when_where_and_how_much(as_ann, ann, tier, book):
    html = page_of(as_ann, book(ann, tier, 3))
    concert = tier.concert
    for fact in [concert.name, concert.artist, concert.venue, "3 × General admission", "$30.00"]:
        assert fact in html
    assert f'datetime="{concert.date.isoformat()}"' in html
    assert "Your tickets are booked" in html
    assert "Cancel all or some tickets" in html
    assert "data-follow" not in html


def test_pending_booking_is_followed_without_a_reload(as_ann, ann, tier, book, settings):
    settings.PAYMENT_OUTAGE = True
    html = page_of(as_ann, book(ann, tier))
    assert "js/follow.js" in html
    assert 'http-equiv="refresh"' not in html
    assert 'data-follow="PENDING False False"' in html
    assert "Waiting for your payment" in html
    assert "/cancellation/" not in html


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


def test_bobs_booking_is_not_there_for_ann(as_ann, bob, tier, book):
    booking = book(bob, tier)
    for path in [f"/bookings/{booking.pk}/", f"/bookings/{booking.pk}/cancellation/"]:
        assert as_ann.get(path).status_code == 404
    assert as_ann.post(f"/bookings/{booking.pk}/cancellation/").status_code == 404
    assert Booking.objects.get().status == "CONFIRMED"


# --- Cancelling ---------------------------------------------------------------------------------


def cancel(client, booking):
    return client.post(f"/bookings/{booking.pk}/cancellation/", follow=True).content.decode()


def test_cancelling_asks_first_and_then_gives_the_tickets_back(as_ann, ann, tier, book, left):
    booking = book(ann, tier, 2)
    asked = as_ann.get(f"/bookings/{booking.pk}/cancellation/").content.decode()
    assert "Cancel all or some tickets?" in asked
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
    assert "/cancellation/" not in page_of(as_ann, booking)
    assert "before its concert begins" in cancel(as_ann, booking)


def test_a_booking_with_an_unknown_payment_cannot_be_cancelled_yet(
    as_ann, ann, tier, book, settings
):
    settings.PAYMENT_OUTAGE = True
    assert "is being made" in cancel(as_ann, book(ann, tier))


def cancel_form(client, booking, quantity):
    """The fields of the page that asks which tickets go back."""
    response = client.get(f"/bookings/{booking.pk}/cancellation/")
    names = ("idempotency_key", "seen_refund")
    return {name: drawn(response, name) for name in names} | {"quantity": str(quantity)}


def test_the_sum_that_comes_back_is_what_the_form_showed(as_ann, ann, staff, tier, book, left):
    booking = book(ann, tier, 3)
    path = f"/bookings/{booking.pk}/cancellation/"
    fields = cancel_form(as_ann, booking, 2)
    now = timezone.now()
    refunding.give_money_back(booking, Decimal("15.00"), by=staff, note="late", now=now)
    asked = as_ann.post(path, fields)
    html = asked.content.decode()
    assert asked.status_code == 409
    assert "What comes back went from $30.00 to $15.00. Nothing was cancelled." in html
    assert checked(html) == ["2", "3"]
    assert drawn(asked, "idempotency_key") != fields["idempotency_key"]
    assert left(tier) == 97
    again = fields | {n: drawn(asked, n) for n in ("idempotency_key", "seen_refund")}
    for _ in range(2):  # the second one is a repeated request, whatever it shows
        assert as_ann.post(path, again).status_code == 303
    assert left(tier) == 99


def test_tickets_that_went_back_in_another_window_are_asked_about(as_ann, ann, tier, book, left):
    booking = book(ann, tier, 3)
    path = f"/bookings/{booking.pk}/cancellation/"
    first, second = cancel_form(as_ann, booking, 1), cancel_form(as_ann, booking, 3)
    assert as_ann.post(path, first).status_code == 303
    assert as_ann.post(path, second).status_code == 409
    assert left(tier) == 98


@pytest.mark.parametrize("nonsense", ["x", "NaN", "-1", "9" * 5000, "\x00"])
def test_a_sum_that_is_nonsense_is_asked_about(as_ann, ann, tier, book, left, nonsense):
    booking = book(ann, tier, 2)
    fields = cancel_form(as_ann, booking, 2) | {"seen_refund": nonsense}
    response = as_ann.post(f"/bookings/{booking.pk}/cancellation/", fields)
    assert response.status_code == 400
    assert "out of date" in response.content.decode()
    assert left(tier) == 98


def test_another_choice_tells_that_the_price_has_changed(as_ann, ann, tier, book, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    html = page_of(as_ann, book(ann, tier))
    TicketTier.objects.update(price="12.00")
    again = unescape(re.search(r'href="([^"]*\?tier=[^"]*)"', html)[1])
    assert "went from $10.00 to $12.00" in as_ann.get(again).content.decode()


def test_the_booking_of_a_hidden_concert_leads_nowhere_dead(as_ann, ann, tier, book, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    booking = book(ann, tier)
    Concert.objects.update(status=Concert.Status.DRAFT)
    assert "/concerts/" not in page_of(as_ann, booking).partition("<main")[2].partition("</main")[0]


# --- My bookings --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/bookings/", f"/bookings/{uuid.uuid4()}/",
                                  f"/bookings/{uuid.uuid4()}/cancellation/"])  # fmt: skip
def test_bookings_are_behind_log_in(client, path):
    assert client.get(path).url == f"/accounts/login/?next={path}"


def test_concert_names_are_text_and_not_markup(as_ann, ann, book):
    booking = book(ann, TicketTierFactory(concert__name="<script>", concert__venue="<script>"))
    for path in ["/bookings/", f"/bookings/{booking.pk}/", f"/bookings/{booking.pk}/cancellation/"]:
        assert "<script" not in as_ann.get(path).content.decode()
