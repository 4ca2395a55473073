"""A form whose page is older than the browser's last log-in: it is drawn anew, and nothing is done."""

import re

import pytest
from django.test import Client

from accounts.models import User
from bookings.models import Booking
from bookings.placing import place
from bookings.tests.pages import checked, choice, drawn
from bookings.tests.wishing import wish

pytestmark = pytest.mark.django_db

ANN = {"username": "ann@example.com", "password": "correct horse"}
NEW = {"name": "Eve", "email": "eve@example.com", "password": "correct horse"}
EXPECTED_ORIGIN = "http://testserver"


@pytest.fixture
def ann():
    return User.objects.create_user(ANN["username"], ANN["password"], name="Ann")


class Browser(Client):
    """One browser with several tabs, which sends the token that stands in the page."""

    def __init__(self):
        super().__init__(enforce_csrf_checks=True)

    def opens(self, path):
        return self.get(path)

    def sends(self, path, page, fields, **headers):
        token = {"csrfmiddlewaretoken": drawn(page, "csrfmiddlewaretoken")}
        return self.post(path, {**fields, **token}, headers={"Origin": EXPECTED_ORIGIN, **headers})

    def logs_in(self):
        page = self.opens("/accounts/login/")
        assert self.sends("/accounts/login/", page, ANN).status_code == 302

    def logs_out(self):
        self.sends("/accounts/logout/", self.opens("/"), {})
        assert not self.is_logged_in()

    def is_logged_in(self):
        return "_auth_user_id" in self.session


@pytest.fixture
def browser():
    return Browser()


@pytest.fixture
def chosen(tier):
    return f"/concerts/{tier.concert_id}/?tier={tier.pk}&quantity=7"


def text_of(response):
    return response.content.decode()


@pytest.mark.parametrize(("path", "fields"), [("login", ANN), ("signup", NEW)])
def test_after_logging_in_elsewhere_an_old_form_leads_on_to_the_choice(
    browser, ann, chosen, path, fields
):
    old = browser.opens(f"/accounts/{path}/?next={chosen.replace('&', '%26')}")
    browser.logs_in()
    response = browser.sends(
        f"/accounts/{path}/", old, {**fields, "next": chosen.replace("&amp;", "&")}
    )
    assert (response.status_code, response.url) == (302, chosen)
    page = text_of(browser.opens(chosen))
    assert "You are logged in already." in page
    assert re.search('name="quantity" value="7" required checked', page)
    assert User.objects.count() == 1


@pytest.mark.parametrize(("path", "fields"), [("login", ANN), ("signup", NEW)])
def test_after_logging_in_and_out_elsewhere_an_old_form_comes_anew_with_what_was_typed(
    browser, ann, chosen, path, fields
):
    old = browser.opens(f"/accounts/{path}/")
    browser.logs_in()
    browser.logs_out()
    again = browser.sends(f"/accounts/{path}/", old, {**fields, "next": chosen})
    assert again.status_code == 200
    assert "Please send it once more." in text_of(again)
    assert drawn(again, "next") == chosen.replace("&", "&amp;")
    for field, value in fields.items():
        assert (f'value="{value}"' in text_of(again)) is (field != "password")
    assert not browser.is_logged_in()
    assert User.objects.count() == 1

    sent = browser.sends(f"/accounts/{path}/", again, {**fields, "next": chosen})
    assert (sent.status_code, sent.url) == (302, chosen)
    assert browser.is_logged_in()


def test_a_stale_form_never_leads_to_another_site(browser, ann):
    old = browser.opens("/accounts/login/")
    browser.logs_in()
    elsewhere = {**ANN, "next": "https://evil.example/"}
    assert browser.sends("/accounts/login/", old, elsewhere).url == "/concerts/"
    browser.logs_out()
    assert drawn(browser.sends("/accounts/login/", old, elsewhere), "next") == ""


def test_a_stale_booking_form_keeps_the_choice_and_charges_nothing(browser, ann, tier, left):
    old = browser.opens(f"/concerts/{tier.concert_id}/")
    browser.logs_in()
    fields = choice(tier, 7, drawn(old, "idempotency_key"))
    again = browser.sends("/bookings/", old, fields)
    page = text_of(again)
    assert again.status_code == 403
    assert "Press the button once more. Nothing was charged." in page
    assert re.search('name="quantity" value="7" required checked', page)
    assert re.search(f'name="tier" value="{tier.pk}" required checked', page)
    assert (Booking.objects.count(), left(tier)) == (0, 100)

    fields = choice(tier, 7, drawn(again, "idempotency_key"))
    assert browser.sends("/bookings/", again, fields).status_code == 303
    assert Booking.objects.get().quantity == 7


def test_a_stale_booking_form_of_a_stranger_leads_to_log_in_with_the_choice(browser, ann, tier):
    old = browser.opens(f"/concerts/{tier.concert_id}/")
    browser.logs_in()
    browser.logs_out()
    response = browser.sends("/bookings/", old, choice(tier, 7))
    assert response.status_code == 303
    assert response.url.startswith("/accounts/login/?next=")
    assert "quantity%3D7" in response.url
    assert not Booking.objects.exists()


def test_a_stale_form_to_cancel_asks_again_and_gives_nothing_back(browser, ann, tier, settings):
    settings.PAYMENT_SUCCESS_RATE = 1
    booking = place(wish(ann, tier, 3)).booking
    path = f"/bookings/{booking.pk}/cancellation/"
    browser.logs_in()
    old = browser.opens(path)
    browser.logs_out()
    assert browser.sends(path, old, {"number": ["1", "3"]}).url == f"/accounts/login/?next={path}"

    browser.logs_in()
    again = browser.sends(path, old, {"number": ["1", "3"]})
    assert again.status_code == 403
    assert "Nothing was cancelled." in text_of(again)
    assert checked(text_of(again)) == ["1", "3"]
    booking.refresh_from_db()
    assert (booking.status, booking.returned_quantity) == ("CONFIRMED", 0)

    browser.sends(path, again, {"number": ["1", "3"]})
    booking.refresh_from_db()
    assert booking.returned_quantity == 2


def test_a_stale_form_to_cancel_shows_nothing_of_somebody_else(browser, ann, tier):
    booking = place(wish(ann, tier, 3)).booking
    User.objects.create_user("bob@example.com", "correct horse", name="Bob")
    old = browser.opens("/accounts/login/")
    browser.sends("/accounts/login/", old, {**ANN, "username": "bob@example.com"})
    assert browser.sends(f"/bookings/{booking.pk}/cancellation/", old, {}).status_code == 404


def test_a_stale_log_out_asks_and_then_logs_out(browser, ann):
    browser.logs_in()
    old = browser.opens("/")
    browser.logs_out()
    assert browser.sends("/accounts/logout/", old, {}).url == "/concerts/"

    browser.logs_in()
    asks = browser.sends("/accounts/logout/", old, {})
    assert asks.status_code == 403
    assert "Do you want to log out?" in text_of(asks)
    assert browser.is_logged_in()
    browser.sends("/accounts/logout/", asks, {})
    assert not browser.is_logged_in()


FORGED = {
    "no token": ({}, {}),
    "a made-up token": ({"csrfmiddlewaretoken": "x"}, {}),
    "a token of another browser": ({"csrfmiddlewaretoken": "b" * 32}, {}),
    "a foreign page": (
        {"csrfmiddlewaretoken": "b" * 32},
        {"Origin": "https://evil.example"},
    ),
    "a page without an origin": ({"csrfmiddlewaretoken": "b" * 32}, {"Origin": "null"}),
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("cookies", [True, False], ids=["with cookies", "without cookies"])
def test_a_forged_form_does_nothing_at_all(browser, ann, tier, settings, left, forged, cookies):
    settings.PAYMENT_SUCCESS_RATE = 1
    booking = place(wish(ann, tier, 3)).booking
    browser.logs_in()
    if not cookies:
        browser.cookies.clear()
    token, headers = FORGED[forged]
    for path, fields in [
        ("/bookings/", choice(tier)),
        (f"/bookings/{booking.pk}/cancellation/", {}),
        ("/accounts/logout/", {}),
        ("/accounts/signup/", NEW),
        ("/accounts/login/", ANN),
    ]:
        response = browser.post(path, {**fields, **token}, headers=headers)
        if headers or "csrfmiddlewaretoken" not in token or not cookies:
            assert response.status_code == 403, path
            assert "got out of date" in text_of(response), path
            assert NEW["email"] not in text_of(response)
    booking.refresh_from_db()
    assert (booking.status, left(tier), Booking.objects.count()) == ("CONFIRMED", 97, 1)
    assert User.objects.count() == 1
    assert browser.is_logged_in() is cookies


def test_the_back_office_explains_a_stale_form(browser, ann):
    old = browser.opens("/admin/login/")
    browser.logs_in()
    response = browser.sends("/admin/login/", old, ANN)
    assert response.status_code == 403
    assert "got out of date" in text_of(response)
