"""A customer with a real Chromium: declined and tried again, a lost connection, my bookings, giving back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.cancelling import cancel
from bookings.models import Booking, Return
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from concerts.tests.moves import move
from ticketbook.tests.browser import ann, browser_test, choose, log_in, press_book, tier

__all__ = ["ann", "tier"]

pytestmark = browser_test


def main_of(page):
    return " ".join(page.get_by_role("main").inner_text().split())


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_a_declined_payment_is_tried_again_by_one_button(visit, ann, tier, settings, scripts):
    page = visit("/", color_scheme="dark", java_script_enabled=scripts)
    log_in(page, f"/concerts/{tier.concert_id}/")
    settings.PAYMENT_SUCCESS_RATE = 0
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="The payment was declined").wait_for()
    assert "100 × General admission are left. You chose 2, for $90.00 in all." in main_of(page)
    declined = page.url

    # Back, and the old form once more.
    page.go_back()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_text("Your payment was declined; nothing was charged.").wait_for()
    assert page.url == declined
    assert "booked" not in main_of(page)

    settings.PAYMENT_SUCCESS_RATE, settings.PAYMENT_LATENCY_MS = 1, 300
    again = page.get_by_role("button", name="Try again with the same choice")
    again.dblclick() if scripts else again.click()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert sorted(Booking.objects.values_list("status", "quantity")) == [
        ("CONFIRMED", 2),
        ("FAILED", 2),
    ]
    page.goto(declined)
    page.get_by_role("heading", name="You have tried again").wait_for()
    assert page.get_by_role("button", name="Try again").count() == 0


def test_a_connection_that_breaks_while_booking_leads_to_the_booking(visit, ann, tier):
    page = visit("/")
    log_in(page, f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)

    def lose_the_answer(route):
        if route.request.method == "POST":
            route.fetch(max_redirects=0)
            return route.abort("connectionreset")
        return route.continue_()

    page.route("**/bookings/", lose_the_answer)
    with page.expect_event("requestfailed"):
        press_book(page)
    page.wait_for_url("chrome-error://**")
    page.unroute_all()
    page.reload()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert "It was booked once" in main_of(page)
    assert Booking.objects.count() == 1


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_the_sum_follows_the_tickets_that_are_given_back(visit, ann, tier, scripts):
    booking = place(wish(ann, tier, 4)).booking
    page = visit("/", java_script_enabled=scripts)
    log_in(page, f"/bookings/{booking.pk}/cancellation/")
    give_back = page.get_by_role("button", name="Yes, give them back")
    assert page.get_by_role("checkbox", checked=True).count() == 0
    assert "Each brings back $45.00, and all 4 together $180.00." in main_of(page)
    page.get_by_role("link", name="Choose all 4").click()
    page.wait_for_function("document.querySelectorAll(':checked').length === 4") if scripts else 0
    for number in (1, 3):
        page.get_by_role("checkbox", name=f"Ticket {number}").uncheck()
    says = page.get_by_role("status")
    assert says.inner_text() == (
        "2 of 4 tickets: $90.00 of $180.00 goes back to you." if scripts else ""
    )
    give_back.click()
    page.get_by_text("You returned 2 of 4 tickets. $90.00 was sent back to you.").wait_for()
    assert Return.objects.get().numbers == [2, 4]
    assert "You gave back 2 of 4 tickets (numbers 2, 4)." in main_of(page)


def test_my_bookings_on_a_phone_are_apart_and_say_what_has_changed(visit, ann, tier, settings):
    now = timezone.now()
    place(wish(ann, tier, 2))
    old, off = (TicketTierFactory(concert__name=name) for name in ("Old Times", "Stars"))
    place(wish(ann, old, 1))
    Concert.objects.filter(pk=old.concert_id).update(date=now - timedelta(days=3))
    cancel(place(wish(ann, off, 1)).booking, now=now)
    move(tier.concert, venue="Arena")
    page = visit("/")
    log_in(page, "/bookings/")
    sections = page.get_by_role("region")
    assert [section.split("\n")[0] for section in sections.all_inner_texts()] == [
        "Upcoming",
        "Past",
        "Cancelled or not paid",
    ]
    cards = page.locator(".card")
    names = ["Northern Lights", "Old Times", "Stars"]
    assert cards.get_by_role("heading", level=3).all_inner_texts() == names
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    notice = "Northern Lights has moved. Your tickets remain valid."
    page.get_by_text(notice).wait_for()
    cards.first.click()
    page.get_by_text("It was at Town Hall, and is now at Arena.").wait_for()
