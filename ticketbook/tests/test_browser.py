"""A customer with a real Chromium: the pages as a whole, with and without JavaScript."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.mailed import link_of_last
from bookings.models import Booking
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.browser import (
    DESKTOP,
    PASSWORD,
    PHONE,
    TOO_SMALL,
    UNLABELLED,
    ann,
    browser_test,
    choose,
    in_seconds,
    log_in,
    press_book,
    sale_changes,
    tier,
)
from tickets.fulfilment import fulfil

__all__ = ["ann", "tier"]

pytestmark = browser_test


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_a_stranger_books_and_cancels(visit, tier, javascript):
    page = visit("/", java_script_enabled=javascript)
    page.get_by_role("link", name="Northern Lights").click()
    choose(page, "General admission", 2)
    page.get_by_role("button", name="Log in instead").click()
    page.get_by_role("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    assert page.get_by_role("radio", name="General admission").is_checked()
    assert page.get_by_role("radio", name="2", exact=True).is_checked()
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert "$90.00" in page.get_by_role("main").inner_text()

    page.get_by_role("banner").get_by_role("link", name="My bookings").click()
    page.get_by_role("link", name="Northern Lights").click()
    page.get_by_role("link", name="Cancel all or some tickets").click()
    page.get_by_role("link", name="Choose all 2").click()
    page.get_by_role("button", name="Yes, give them back").click()
    page.get_by_role("heading", name="Your booking is cancelled").wait_for()
    tier.refresh_from_db()
    assert tier.available_quantity == 100

    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_going_back_and_sending_again_books_once(visit, ann, tier, javascript):
    page = visit("/", java_script_enabled=javascript)
    log_in(page, f"/concerts/{tier.concert_id}/")
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    page.go_back()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_text("It was booked once").wait_for()
    assert Booking.objects.count() == 1


def test_a_double_click_books_once(visit, ann, tier, settings):
    settings.PAYMENT_LATENCY_MS = 300
    page = visit("/")
    log_in(page, f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)
    page.get_by_role("button", name="Book and pay").dblclick()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert Booking.objects.count() == 1


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_a_late_payment_shows(visit, ann, tier, settings, scripts):
    """By itself, in the same live region, or after a reload by hand where no script runs."""
    settings.PAYMENT_OUTAGE = True
    page = visit("/", java_script_enabled=scripts)
    log_in(page, f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)
    press_book(page)
    page.get_by_role("heading", name="Waiting for your payment").wait_for()
    region = page.get_by_role("main").get_by_role("status").element_handle()
    Booking.objects.update(status="CONFIRMED", payment_status="SUCCESS")
    if scripts:
        page.get_by_role("heading", name="Your tickets are booked").wait_for()
        assert region.inner_text().startswith("Your tickets are booked")
    else:
        page.get_by_role("link", name="Reload now").click()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert page.locator(".pass").count() == 1
    assert page.get_by_role("link", name="Reload now").count() == 0


@pytest.fixture
def paths(ann, tier):
    TicketTierFactory(
        concert__name="Donaudampfschifffahrtsgesellschaftskapitänsmützenkonzert " * 3,
        concert__date=timezone.now() + timedelta(days=1),
        concert__venue="x" * 200,
    )
    booking = place(wish(ann, tier, 3)).booking
    ticket = fulfil(booking, now=timezone.now())[0]
    concert = f"/concerts/{tier.concert_id}/"
    return [
        "/",
        "/?dateFrom=soon&q=nothing",
        concert,
        "/bookings/",
        f"/bookings/{booking.pk}/",
        f"/bookings/{booking.pk}/cancellation/",
        f"/tickets/{ticket.token}/",
        "/lost-mail/",
        "/accounts/",
        "/accounts/devices/",
        "/accounts/address/",
        "/accounts/close/",
        "/not-here/",
    ]


@pytest.mark.parametrize("viewport", [{"width": 320, "height": 568}, PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_can_be_used(visit, paths, viewport, scheme):
    page = visit("/accounts/signup/", viewport=viewport, color_scheme=scheme)
    seen = []

    def look(path):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate(UNLABELLED) == [], path
        assert page.evaluate(TOO_SMALL) == [], path
        assert page.locator("h1").count() == 1, path
        seen.append(page.title())

    look("sign-up")
    page.goto("/accounts/forgotten/")
    look("forgotten password")
    page.goto("/accounts/login/")
    look("log-in")
    log_in(page)
    for path in paths:
        page.goto(path)
        look(path)
    assert len(set(seen)) == len(seen), "every page has a title of its own"


def test_a_customer_sets_a_forgotten_password_and_ends_what_was_open(visit, ann):
    elsewhere = visit("/")
    log_in(elsewhere)
    page = visit("/accounts/login/", java_script_enabled=False)
    page.get_by_role("link", name="Forgotten your password?").click()
    page.get_by_label("E-mail address").fill("Ann@example.com")
    page.get_by_role("button", name="Send me the link").click()
    page.get_by_text("we have sent it a link").wait_for()
    page.goto(link_of_last("password_reset"))
    page.get_by_label("New password").fill("another sentence")
    page.get_by_role("button", name="Set the new password").click()
    page.get_by_text("Your new password is set, and you are logged in.").wait_for()
    page.get_by_role("link", name="Account", exact=True).click()
    page.get_by_role("link", name="Where you are logged in").click()
    page.get_by_text("This one").wait_for()
    assert page.get_by_role("button", name="End all others").count() == 0
    elsewhere.goto("/accounts/")
    elsewhere.get_by_role("heading", name="Log in").wait_for()


def test_the_keyboard_alone_books(visit, ann, tier):
    page = visit("/", viewport=DESKTOP)
    log_in(page, f"/concerts/{tier.concert_id}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    for key in ["Tab", "Tab", "Space", "Tab", "ArrowRight", "Tab", "Enter"]:
        page.keyboard.press(key)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert Booking.objects.get().quantity == 2


# --- A page that is left open -------------------------------------------------------------------


def test_a_page_left_open_opens_by_itself_and_books(visit, ann, tier):
    page = visit("/")
    log_in(page)
    sale_changes(tier, sales_open_at=in_seconds(3))
    page.goto(f"/concerts/{tier.concert_id}/")
    page.get_by_text("This page opens by itself then.").wait_for()
    assert page.get_by_role("button", name="Book and pay").count() == 0
    page.get_by_role("status").get_by_text("Tickets are on sale now.").wait_for()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    page.go_back()
    page.get_by_role("radio", name="General admission").wait_for()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_text("It was booked once").wait_for()
    assert Booking.objects.count() == 1


def test_a_page_left_open_says_that_the_sale_has_ended(visit, tier):
    sale_changes(tier, sales_close_at=in_seconds(3))
    page = visit(f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 3)
    page.get_by_role("status").get_by_text("Sales ended").wait_for()
    assert page.get_by_role("button", name="Book and pay").count() == 0


def test_a_sale_that_goes_on_keeps_the_choice_the_key_and_what_was_seen(visit, ann, tier):
    page = visit("/")
    log_in(page)
    sale_changes(tier, sales_close_at=in_seconds(4))
    page.goto(f"/concerts/{tier.concert_id}/")
    key = page.locator("[name=idempotency_key]").input_value()
    choose(page, "General admission", 4)
    sale_changes(tier, sales_close_at=None)
    TicketTier.objects.filter(pk=tier.pk).update(price=50)
    page.get_by_role("status").get_by_text("Tickets are on sale now.").wait_for()
    assert page.get_by_role("radio", name="General admission").is_checked()
    assert page.get_by_role("radio", name="4", exact=True).is_checked()
    assert page.locator("[name=idempotency_key]").input_value() == key
    press_book(page)
    page.get_by_text("The price of General admission went from $45.00 to $50.00.").wait_for()
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert Booking.objects.get().total_price == 200


def test_a_page_waits_for_months_and_wakes_after_its_device_has_slept(visit, tier):
    path = f"/concerts/{tier.concert_id}/"
    sale_changes(tier, sales_open_at=in_seconds(20 * 86400))
    page = visit("/")
    page.clock.install()
    asked = []
    page.on(
        "request", lambda request: asked.append(request.url) if request.url.endswith(path) else None
    )
    page.goto(path)
    page.clock.fast_forward(100 * 3600 * 1000)
    page.get_by_text("This page opens by itself then.").wait_for()
    assert len(asked) == 1
    sale_changes(tier, sales_open_at=in_seconds(-1))
    page.clock.fast_forward(400 * 3600 * 1000)
    page.get_by_role("status").get_by_text("Tickets are on sale now.").wait_for()
