"""A customer with a real Chromium on a phone pays at the payment page, or does not."""

from datetime import timedelta

import pytest
from django.conf import global_settings
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tasks import refund_booking
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from demo.tests.test_hosted_flow import CONFIRMED, becomes, state
from ticketbook.tests.browser import (
    PASSWORD,
    PHONE,
    TOO_SMALL,
    UNLABELLED,
    browser_test,
    choose,
    log_in,
    press_book,
    watch,
)

pytestmark = browser_test


@pytest.fixture
def visit(chromium, site, violations):
    """Open a page of the real site, in a browser of its own."""
    contexts = []

    def visit(path, *, viewport=PHONE, **options):
        address = f"http://127.0.0.1:{site.port}"
        context = chromium.new_context(viewport=viewport, base_url=address, **options)
        contexts.append(context)
        watch(context, violations)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def ann(site, settings):
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS  # those of the site
    return User.objects.create_user("ann@example.com", PASSWORD, name="Ann")


@pytest.fixture
def tier(site):
    tier = TicketTierFactory(concert__name="Northern Lights", price=45)
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, price=160)
    return tier


@pytest.fixture
def at_the_payment_page(visit, ann, tier):
    """Log in and book two tickets; returns the browser's page, which shows the payment page now."""

    def book(**options):
        page = visit("/", **options)
        log_in(page, f"/concerts/{tier.concert_id}/")
        choose(page, "General admission", 2)
        press_book(page)
        page.get_by_role("heading", name="Your payment").wait_for()
        return page

    return book


def press(page, name):
    page.get_by_role("button", name=name).click()


def is_in_order(page):
    """The page fits, and a finger can use it."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(UNLABELLED) == []
    assert page.evaluate(TOO_SMALL) == []
    assert page.locator("h1").count() == 1


def sees(page, heading):
    page.get_by_role("heading", name=heading).wait_for()
    is_in_order(page)
    return page.get_by_role("main").inner_text()


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_paying_leads_to_the_tickets(at_the_payment_page, left, tier, javascript):
    page = at_the_payment_page(java_script_enabled=javascript)
    assert "$90.00" in page.get_by_role("main").inner_text()
    press(page, "Pay $90.00")
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert "Confirmed" in page.get_by_role("main").inner_text()
    page.get_by_role("link", name="My bookings").first.click()
    page.get_by_text("Confirmed").wait_for()
    assert left(tier) == 98


def test_the_page_of_the_booking_follows_by_itself(at_the_payment_page, site):
    """The customer pays in another window. This one shows it without a reload by hand."""
    page = at_the_payment_page()
    payment = page.url
    booking = Booking.objects.get()
    page.goto(f"http://127.0.0.1:{site.port}/bookings/{booking.pk}/")
    sees(page, "Your tickets wait for your payment")
    site.press(payment, "pay")
    sees(page, "Your tickets are booked")


def test_a_declined_payment_says_so_and_leads_back_to_the_concert(at_the_payment_page, left, tier):
    page = at_the_payment_page()
    press(page, "Decline")
    assert "Nothing was charged" in sees(page, "The payment was declined")
    page.get_by_role("link", name="Try again with another choice").click()
    assert page.get_by_role("radio", name="General admission").is_checked()
    assert page.get_by_role("radio", name="2", exact=True).is_checked()
    assert left(tier) == 100


def test_a_declined_payment_is_tried_again_at_the_payment_page(at_the_payment_page, left, tier):
    page = at_the_payment_page()
    first = page.url
    press(page, "Decline")
    sees(page, "The payment was declined")
    press(page, "Try again with the same choice")
    page.get_by_role("heading", name="Your payment").wait_for()
    assert page.url != first
    press(page, "Pay $90.00")
    sees(page, "Your tickets are booked")
    assert left(tier) == 98


def test_a_customer_closes_the_window_and_pays_later(at_the_payment_page, site):
    page = at_the_payment_page()
    press(page, "Close the window")
    page.get_by_role("heading", name="Nothing was paid").wait_for()
    page.goto(f"http://127.0.0.1:{site.port}/bookings/")
    page.get_by_role("link", name="Northern Lights").click()
    sees(page, "Your tickets wait for your payment")
    page.get_by_role("link", name="Go to the payment page").click()
    press(page, "Pay $90.00")
    sees(page, "Your tickets are booked")


def test_booking_the_same_form_again_leads_back_to_the_payment(at_the_payment_page):
    page = at_the_payment_page()
    first = page.url
    page.go_back()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="Your payment").wait_for()
    assert page.url == first
    assert Booking.objects.count() == 1


def test_without_a_payment_the_tickets_go_and_the_page_says_so(
    at_the_payment_page, site, left, tier
):
    page = at_the_payment_page()
    booking = Booking.objects.get()
    resolve_expired(now=timezone.now() + timedelta(minutes=16))
    press(page, "Pay $90.00")
    page.get_by_role("heading", name="Cancelled").wait_for()
    page.get_by_role("link", name="Back to your booking").click()
    assert "went back on sale" in sees(page, "Your time to pay is over")
    assert left(tier) == 100
    assert state(booking.pk)[0] == "FAILED"


def test_money_that_comes_too_late_is_on_its_way_back(at_the_payment_page, site):
    page = at_the_payment_page()
    press(page, "Pay after the time")
    page.get_by_role("heading", name="Your bank has not answered yet").wait_for()
    booking = Booking.objects.get()
    page.get_by_role("link", name="Back to your booking").click()
    sees(page, "Your tickets wait for your payment")
    resolve_expired(now=timezone.now() + timedelta(minutes=16))
    becomes(booking.pk, ("FAILED", "SUCCESS", "EXPIRED"))
    page.reload()
    assert "$90.00 is on its way back to you" in sees(page, "Your payment came too late")
    refund_booking(str(booking.pk))
    page.reload()
    assert "$90.00 was sent back to you" in sees(page, "Your payment came too late")


def test_a_customer_returns_one_of_two_tickets_and_then_the_other(at_the_payment_page, left, tier):
    page = at_the_payment_page()
    press(page, "Pay $90.00")
    sees(page, "Your tickets are booked")
    booking = Booking.objects.get()
    becomes(booking.pk, CONFIRMED)
    page.get_by_role("link", name="Cancel all or some tickets").click()
    sees(page, "Cancel all or some tickets?")
    page.get_by_role("checkbox", name="Ticket 2").check()
    press(page, "Yes, give them back")
    text = sees(page, "Your tickets are booked")
    assert "You returned 1 of 2 tickets. $45.00 was sent back to you." in text
    assert left(tier) == 99
    page.get_by_role("link", name="Cancel this booking").click()
    press(page, "Yes, cancel it")
    assert "$90.00 was sent back to you" in sees(page, "Your booking is cancelled")
    assert left(tier) == 100
