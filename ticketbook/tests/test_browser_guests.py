"""A guest with a real Chromium on a phone: books without an account, and comes back by the mailed link."""

import pytest

from accounts.models import User
from bookings import claiming
from bookings.models import Booking
from bookings.tests.guest_pages import EMAIL, last_mail, path_in
from ticketbook.tests.test_browser import (
    CHROMIUM,
    PASSWORD,
    TOO_SMALL,
    UNLABELLED,
    choose,
    chromium,
    every_payment_succeeds,
    press_book,
    tier,
    violations,
    visit,
)

__all__ = ["chromium", "every_payment_succeeds", "tier", "violations", "visit"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


def look(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    assert page.evaluate(UNLABELLED) == [], page.url
    assert page.evaluate(TOO_SMALL) == [], page.url


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_a_guest_books_and_comes_back_by_the_mail_and_keeps_it(visit, tier, javascript):
    page = visit(f"/concerts/{tier.concert_id}/", java_script_enabled=javascript)
    look(page)
    choose(page, "General admission", 2)
    who = page.get_by_role("group", name="Who books")
    who.get_by_role("textbox", name="Your name").fill("Gwen")
    who.get_by_role("textbox", name="E-mail address").fill("gwen at home")
    press_book(page)  # the browser itself, or the page, says what is wrong
    who.get_by_role("textbox", name="E-mail address").fill(EMAIL)
    who.get_by_role("textbox", name="E-mail address").press("Enter")
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    look(page)
    booking = Booking.objects.get()
    assert (booking.quantity, booking.user.email, booking.user.is_guest) == (2, EMAIL, True)

    page.get_by_role("banner").get_by_role("link", name="My bookings").click()
    page.get_by_role("heading", name="My bookings").wait_for()
    look(page)
    page.get_by_role("link", name="Northern Lights").click()

    other = visit(path_in(last_mail("tickets"), "/b/"), java_script_enabled=javascript)
    other.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert "/b/" not in other.url

    page.get_by_role("button", name="Keep it in an account").click()
    page.get_by_text(f"A mail is on its way to {EMAIL}.").wait_for()
    page.goto(path_in(last_mail(claiming.KEEP), "/bookings/keep/"))
    look(page)
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up and keep them").click()
    page.get_by_text("1 booking is in your account now.").wait_for()
    assert Booking.objects.get().user == User.objects.get(email=EMAIL)


def test_a_stopped_link_opens_nothing_elsewhere(visit, tier):
    page = visit(f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_role("textbox", name="E-mail address").fill(EMAIL)
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    link = path_in(last_mail("tickets"), "/b/")
    page.get_by_role("button", name="Stop the mailed link").click()
    page.get_by_text("The old link opens nothing any more").wait_for()
    other = visit(link)
    other.get_by_role("heading", name="This link opens nothing").wait_for()
    look(other)
