"""A form that was sent before says what became of it, and one button tries again what was not paid."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.settling import settle
from bookings.tests.pages import choice, page_of, post
from bookings.tests.test_my_bookings_list import main_of
from bookings.trying_again import key_of_next
from concerts.calling_off import call_off
from concerts.models import Concert, TicketTier
from concerts.tests.factories import sell
from concerts.tests.moves import move

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def declined(as_ann, tier, settings, every_payment_succeeds):
    """Two tickets at 10.00, whose payment was declined. The next one succeeds."""
    settings.PAYMENT_SUCCESS_RATE = 0
    post(as_ann, choice(tier))
    settings.PAYMENT_SUCCESS_RATE = 1
    return Booking.objects.get()


def fields_of(html):
    """The hidden fields of the form that tries again; None if there is none."""
    form = re.search(r'<form method="post" action="/bookings/">.*?</form>', html, re.DOTALL)
    if form is None:
        return None
    return {
        name: unescape(value)
        for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form[0])
    }


# --- The old form -----------------------------------------------------------------------------------


def ends(state, booking, settings):
    """Let a booking whose payment is open come to this state."""
    now = timezone.now()
    if state == "outcome unknown":
        Booking.objects.filter(pk=booking.pk).update(
            outcome_unknown=True, hold_expires_at=now + timedelta(hours=1)
        )
    elif state == "declined":
        settle(booking, Outcome.DECLINED, now=now)
    elif state in {"not in time", "late"}:
        settle(booking, Outcome.NOT_FOUND, now=now)
        if state == "late":
            settle(booking, Outcome.SUCCEEDED, now=now)
    elif state != "at work":
        settle(booking, Outcome.SUCCEEDED, now=now)
        if state == "cancelled":
            cancel(booking, now=now)
        elif state == "called off":
            call_off(booking.ticket_tier.concert_id, by=None, now=now)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("at work", "It counts once, and nothing is charged twice."),
        ("outcome unknown", "It counts once, and nothing is charged twice."),
        ("confirmed", "You sent this twice. It was booked once"),
        ("declined", "Your payment was declined; nothing was charged."),
        ("not in time", "No payment came in time, so you have no tickets from it."),
        ("late", "Your payment came too late, so you have no tickets from it"),
        ("cancelled", "have cancelled it since. Nothing new was booked"),
        ("called off", "Its concert has been called off since. Nothing new was booked"),
    ],
)
def test_the_old_form_says_what_became_of_it(as_ann, ann, tier, take_hold, settings, state, says):
    booking = take_hold(ann, tier, 2)
    ends(state, booking, settings)
    sent = post(as_ann, choice(tier, 2, booking.idempotency_key))
    assert (sent.status_code, sent.url) == (303, f"/bookings/{booking.pk}/")
    page = as_ann.get(sent.url)
    (message,) = [str(message) for message in page.context["messages"]]
    assert says in message
    if state in {"declined", "not in time", "late"}:
        assert "booked" not in message
        assert "booked" not in main_of(page)
    assert Booking.objects.count() == 1


# --- Tried again ------------------------------------------------------------------------------------


def test_one_button_tries_again_with_the_same_choice_under_a_new_key(as_ann, declined, tier, left):
    html = page_of(as_ann, declined)
    assert "98 × General admission are left" not in html
    assert "100 × General admission are left" in html
    fields = fields_of(html)
    assert fields["idempotency_key"] != str(declined.idempotency_key)
    sent = [post(as_ann, fields) for _ in range(2)]  # a double click
    second = Booking.objects.exclude(pk=declined.pk).get()
    assert [answer.url for answer in sent] == [f"/bookings/{second.pk}/"] * 2
    assert (second.status, second.quantity, left(tier)) == ("CONFIRMED", 2, 98)
    assert "It was booked once" in page_of(as_ann, second)


def test_two_tabs_and_the_way_back_try_again_once(as_ann, declined):
    tabs = [fields_of(page_of(as_ann, declined)) for _ in range(2)]
    for tab in tabs:
        post(as_ann, tab)
    second = Booking.objects.exclude(pk=declined.pk).get()
    html = page_of(as_ann, declined)  # the browser came back
    assert fields_of(html) is None
    assert "You have tried again" in html
    assert f'href="/bookings/{second.pk}/"' in html


def test_a_second_decline_can_be_tried_again_too(as_ann, declined, settings):
    settings.PAYMENT_SUCCESS_RATE = 0
    post(as_ann, fields_of(page_of(as_ann, declined)))
    settings.PAYMENT_SUCCESS_RATE = 1
    second = Booking.objects.exclude(pk=declined.pk).get()
    post(as_ann, fields_of(page_of(as_ann, second)))
    assert Booking.objects.filter(status="CONFIRMED").count() == 1
    assert Booking.objects.count() == 3


def test_a_payment_that_did_not_come_in_time_can_be_tried_again(as_ann, ann, tier, take_hold):
    booking = settle(take_hold(ann, tier, 2), Outcome.NOT_FOUND, now=timezone.now())
    post(as_ann, fields_of(page_of(as_ann, booking)))
    assert Booking.objects.filter(status="CONFIRMED").count() == 1


def test_a_price_that_changed_before_or_after_the_page_asks_again(as_ann, declined, tier):
    fields = fields_of(page_of(as_ann, declined))
    TicketTier.objects.update(price="12.00")
    for form in (fields, fields_of(page_of(as_ann, declined))):
        asked = post(as_ann, form)
        assert asked.status_code == 409
        assert "The price of General admission went from $10.00 to $12.00." in main_of(asked)
    assert Booking.objects.count() == 1


def test_a_date_or_place_that_changed_asks_again(as_ann, declined, tier):
    fields = fields_of(page_of(as_ann, declined))
    move(tier.concert, venue="Arena", date=tier.concert.date + timedelta(days=1))
    for form in (fields, fields_of(page_of(as_ann, declined))):
        asked = post(as_ann, form)
        assert asked.status_code == 409
        assert "The venue went from “ Town Hall ” to “ Arena ”." in main_of(asked)
        assert "The date went from" in main_of(asked)
    assert Booking.objects.count() == 1


@pytest.mark.parametrize(
    ("gone", "says"),
    [(100, "Sold out now"), (99, "Only 1 is left You wanted 2 × General admission.")],
)
def test_too_few_tickets_are_told_with_a_way_to_the_concert(as_ann, declined, tier, gone, says):
    sell(tier, gone)
    html = page_of(as_ann, declined)
    assert fields_of(html) is None
    assert says in main_of(as_ann.get(f"/bookings/{declined.pk}/"))
    assert f'class="button" href="/concerts/{tier.concert_id}/' in html


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "CANCELLED"}, "It has been called off."),
        ({"sales_close_at": timezone.now() - timedelta(days=1)}, "Sales ended on"),
    ],
)
def test_a_sale_that_is_closed_is_told(as_ann, declined, change, says):
    Concert.objects.update(**change)
    html = page_of(as_ann, declined)
    assert fields_of(html) is None
    assert says in html


def test_bob_cannot_learn_of_anns_try(bob, declined, client):
    fields = fields_of(page_of(client, declined))
    client.force_login(bob)
    post(client, fields)
    assert (
        Booking.objects.get(user=bob).status == "CONFIRMED"
    )  # his own, which says nothing of hers


# --- While it is open -------------------------------------------------------------------------------


def test_an_open_payment_promises_a_mail_only_if_one_follows(as_ann, ann, tier, take_hold):
    booking = take_hold(ann, tier)
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert "nothing is charged twice" in says
    assert "a mail either way" not in says  # the request that is at work answers the customer
    ends("outcome unknown", booking, None)
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert "nothing is charged twice" in says
    assert "we send you a mail either way" in says
    Booking.objects.update(action_url="https://pay.example/1")
    says = main_of(as_ann.get(f"/bookings/{booking.pk}/"))
    assert "nothing is charged twice, and the tickets come by mail" in says
    assert "If you do not pay, nothing is charged" in says


def test_nobody_makes_the_key_of_the_next_try_without_our_secret(declined, settings):
    ours = key_of_next(declined)
    settings.SECRET_KEY = "somebody else's"
    assert key_of_next(declined) != ours
