"""What was not paid is tried again once, whichever browsers try it, and whoever is logged in there."""

import re
from collections import Counter
from html import unescape
from urllib.parse import unquote

import pytest
from django.test import Client

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import claiming, guests, views
from bookings.audit import audit
from bookings.handing_over import hand_over
from bookings.models import Booking
from bookings.tests.guest_pages import EMAIL, book_as_guest
from bookings.tests.pages import choice, page_of, post
from bookings.tests.racing import Stepped, race
from concerts.models import TicketTier
from concerts.tests.factories import sell
from ticketbook.postgres import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]


def fields_of(client, booking):
    """The hidden fields of the button that tries again, as this browser shows them."""
    html = page_of(client, booking)
    form = html[html.index('id="next-try"') :]
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in hidden}


@pytest.fixture
def as_guest():
    return Client()


@pytest.fixture
def failed(as_guest, tier, settings, every_payment_succeeds):
    """A guest's booking of two tickets that was declined. The next payment succeeds."""
    settings.PAYMENT_SUCCESS_RATE = 0
    book_as_guest(as_guest, tier)
    settings.PAYMENT_SUCCESS_RATE = 1
    return Booking.objects.select_related("user").get()


@pytest.fixture
def as_account(as_guest, failed, ann):
    """A second browser, which knows the guest's booking too, and where Ann has logged in since."""
    browser = Client()
    browser.cookies["guest"] = as_guest.cookies["guest"].value
    browser.force_login(ann)
    return browser


@pytest.fixture
def account():
    """The account with the guest's address."""
    return UserFactory(email=EMAIL)


def made():
    return Booking.objects.filter(status="CONFIRMED")


# --- A guest here, an account there -----------------------------------------------------------------


@pytest.mark.parametrize("first", ["as_guest", "as_account"])
def test_a_guest_and_an_account_try_again_once(as_guest, as_account, failed, first, left, tier):
    browsers = [as_guest, as_account] if first == "as_guest" else [as_account, as_guest]
    forms = [fields_of(browser, failed) for browser in browsers]
    pages = [post(*sent).url for sent in zip(browsers, forms, strict=True)]
    again = made().get()
    assert pages == [f"/bookings/{again.pk}/"] * 2
    assert (again.user_id, left(tier)) == (failed.user_id, 98)
    for browser in browsers:
        assert "Your tickets are booked" in page_of(browser, again)
        assert "You have tried again" in page_of(browser, failed)


def test_an_account_is_told_whom_the_tickets_of_a_guest_go_to(as_guest, as_account, failed):
    words = f"The tickets go to {EMAIL}"
    assert words in page_of(as_account, failed)
    assert words not in page_of(as_guest, failed)


def try_at_once(browsers, failed):
    """All press the button together. Returns the codes of the answers."""
    forms = [fields_of(browser, failed) for browser in browsers]
    codes = []
    race(lambda i: codes.append(post(browsers[i], forms[i]).status_code), len(browsers))
    return Counter(codes)


@pytest.fixture
def four(as_guest, as_account, failed, ann):
    """Two browsers of the guest, and two where Ann is logged in."""
    guest_too, ann_too = Client(), Client()
    guest_too.cookies["guest"] = ann_too.cookies["guest"] = as_guest.cookies["guest"].value
    ann_too.force_login(ann)
    return [as_guest, as_account, guest_too, ann_too]


@pytest.mark.usefixtures("both_modes")
def test_four_browsers_at_once_try_again_once(four, failed, left, tier):
    assert try_at_once(four, failed) == {303: 4}
    assert (made().count(), left(tier)) == (1, 98)
    assert audit() == []


@pytest.mark.usefixtures("both_modes")
def test_control_by_the_key_alone_they_book_twice(four, failed, left, tier, monkeypatch):
    monkeypatch.setattr(views, "try_again", views.book_by_form)
    monkeypatch.setattr(
        views, "of_this_browser", lambda request: None
    )  # it comes too late in a race
    try_at_once(four, failed)
    assert (made().count(), left(tier)) == (2, 96)


# --- While the booking moves to an account ----------------------------------------------------------


def test_a_page_from_before_the_move_books_nothing_for_a_new_guest(
    as_guest, failed, account, left, tier
):
    fields = fields_of(as_guest, failed)
    claiming.claim(failed.user, account)
    answer = as_guest.post("/bookings/", fields, follow=True)
    assert unquote(answer.redirect_chain[-1][0]) == f"/accounts/login/?next=/bookings/{failed.pk}/"
    assert "does not know that booking any more" in answer.content.decode()
    assert not made().exists()
    assert not User.objects.guests().exists()
    as_account = Client()
    as_account.force_login(account)
    post(as_account, fields_of(as_account, failed))
    assert (made().get().user, left(tier)) == (account, 98)


@pytest.mark.parametrize("after", ["INSERT INTO accounts_user", "INSERT INTO bookings_booking"])
def test_a_try_that_the_move_overtakes_is_left_to_the_account(
    as_guest, failed, account, after, left, tier, settings
):
    """The guest is found, or the booking is written and not committed, and then the bookings move."""
    settings.BOOKING_LANES = False  # so that one thread does all of it
    fields = fields_of(as_guest, failed)
    trying = Stepped(lambda: post(as_guest, fields), after=after).wait_until_reached()
    assert claiming.claim(failed.user, account) == 1
    answer = trying.finish()
    assert (answer.status_code, answer.url) == (303, f"/bookings/{failed.pk}/")
    assert not made().exists()
    as_account = Client()
    as_account.force_login(account)
    post(as_account, fields_of(as_account, failed))
    assert (made().get().user, left(tier)) == (account, 98)
    assert audit() == []


# --- The form that is shown when it cannot be booked as it was -------------------------------------


def form_shown(answer):
    html = answer.content.decode()
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html)
    return {name: unescape(value) for name, value in hidden}


@pytest.mark.parametrize("change", ["price", "stock"])
def test_after_a_change_both_browsers_still_try_once(as_guest, as_account, failed, tier, change):
    shown = []
    for browser, who in ((as_guest, {"name": "Gwen", "email": EMAIL}), (as_account, {})):
        fields = fields_of(browser, failed)
        shown.append((browser, fields | who))
    if change == "price":
        TicketTier.objects.update(price="12.00")
    else:
        sell(tier, 99)
    pages = []
    for browser, fields in shown:
        asked = post(browser, fields)
        assert asked.status_code == 409
        chosen = {"tier": str(tier.pk), "quantity": "1"}
        who = {name: fields[name] for name in ("name", "email") if name in fields}
        pages.append((browser, form_shown(asked) | chosen | who))
    assert {fields["again"] for _, fields in pages} == {str(failed.pk)}
    urls = {post(browser, fields).url for browser, fields in pages}
    assert len(urls) == 1
    assert Booking.objects.exclude(pk=failed.pk).filter(user=failed.user).count() == 1


def test_another_address_is_another_wish(as_guest, failed):
    post(as_guest, fields_of(as_guest, failed) | {"email": "hal@example.com"})
    assert made().get().user.email == "hal@example.com"


def test_nonsense_in_place_of_the_booking_asks_once_more(as_guest, failed):
    asked = post(as_guest, fields_of(as_guest, failed) | {"again": "nonsense"})
    assert asked.status_code == 400
    assert "Press the button once more" in asked.content.decode()


def test_a_customer_may_not_try_again_for_a_guest_whose_booking_they_only_know_by_its_id(
    failed, as_guest, ann
):
    fields = fields_of(as_guest, failed)
    stranger = Client()
    stranger.force_login(ann)
    post(stranger, fields)
    assert made().get().user == ann
    assert not guests.GuestSlip.objects.filter(idempotency_key=fields["idempotency_key"]).exists()


# --- A try that has gone to somebody else -----------------------------------------------------------


@pytest.mark.parametrize("by", ["a guest", "an account"])
def test_a_try_that_was_handed_over_is_not_offered_again(tier, settings, ann, staff, by):
    browser = Client()
    if by == "an account":
        browser.force_login(ann)
    settings.PAYMENT_SUCCESS_RATE = 0
    if by == "a guest":
        book_as_guest(browser, tier)
    else:
        post(browser, choice(tier))
    settings.PAYMENT_SUCCESS_RATE = 1
    failed = Booking.objects.get()
    fields = fields_of(browser, failed)
    post(browser, fields)
    again, now = made().select_related("user").get(), clock.now()
    seen = str(again.user_id)
    hand_over(again, email="hal@example.com", name="Hal", seen=seen, by=staff, note="sold", now=now)
    html = page_of(browser, failed)
    assert "That booking has gone to another e-mail address since." in html
    assert "Try again with the same choice" not in html
    assert str(again.pk) not in html
    post(browser, fields)  # the page from before
    assert made().get().user.email == "hal@example.com"
