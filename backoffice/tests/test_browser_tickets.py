"""Tickets are kept back, given away and sold at the door in a real Chromium, with and without JavaScript."""

from functools import partial

import pytest

from bookings.models import Booking
from ticketbook.tests.axe import no_faults
from ticketbook.tests.browser import DESKTOP, PHONE, browser_test, tier

__all__ = ["tier"]

pytestmark = browser_test

GUESTS = """Gwen Lee <gwen@example.com> 2
Ann Featherstonehaugh <a.very.long.address.of.somebody@a-long-domain.example.com> 3
nobody"""


@pytest.fixture
def desk(as_staff, tier):
    """Open the page of the tier's concert as staff."""
    return partial(as_staff, f"/admin/concerts/concert/{tier.concert_id}/change/")


def follow(page, name):
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("heading", name=name.split(" (")[0]).first.wait_for()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def fits(page):
    assert page.locator("body").bounding_box()["width"] <= page.viewport_size["width"]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_staff_keep_back_give_away_and_sell_tickets(desk, tier, viewport):
    page = desk(viewport=viewport, java_script_enabled=viewport == DESKTOP)
    with no_faults() as look:

        def see(text):
            page.get_by_text(text).first.wait_for()
            fits(page)
            if viewport == DESKTOP:  # axe needs JavaScript
                look(page, text)

        follow(page, "Keep tickets back (General admission)")
        page.get_by_label("Tickets").fill("900")
        page.get_by_label("Reason").fill("The band")
        press(page, "Keep tickets back")
        page.get_by_text("Only 100 are free now.").wait_for()
        page.get_by_label("Tickets").fill("4")
        press(page, "Keep tickets back")
        page.get_by_text("0 tickets were kept back, and 4 are now.").wait_for()

        follow(page, "Book a guest list")
        page.get_by_role("textbox", name="Guests").fill(GUESTS)
        page.get_by_label("Counted as").select_option("ARTIST")
        page.get_by_label("Price").select_option("none")
        page.get_by_label("Take tickets that are kept back").check()
        page.get_by_label("Reason").fill("The band")
        press(page, "See what will happen")
        see("Not booked: Only 2 tickets are kept back.")
        press(page, "Book 2 tickets")
        page.get_by_text("1 of 3 lines is booked.").wait_for()
        see("2 tickets are booked.")
        page.get_by_role("link", name="Back", exact=True).click()

        follow(page, "Book for somebody")
        page.get_by_label("Counted as").select_option("DOOR")
        page.get_by_label("Price").select_option("cash")
        page.get_by_label("Reason").fill("Box office")
        press(page, "Book for somebody")
        page.get_by_text("1 ticket is booked. Cash: $45.00.").wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Print it").click()
        assert download.value.suggested_filename == "tickets.pdf"
        page.get_by_label("Tickets:", exact=True).fill("1")
        press(page, "Book for somebody")  # the next one, with the same choices
        see("1 ticket is booked. Cash: $45.00.")

    sold = Booking.objects.order_by("pk").values_list("source", "quantity", "total_price")
    assert list(sold) == [("ARTIST", 2, 0), ("DOOR", 1, 45), ("DOOR", 1, 45)]
