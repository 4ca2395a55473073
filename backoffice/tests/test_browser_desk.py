"""The first page in a real Chromium: it follows the sale, and works without JavaScript."""

from functools import partial

import pytest

from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import Concert
from ticketbook.tests.axe import no_faults
from ticketbook.tests.browser import DESKTOP, PHONE, ann, browser_test, tier

__all__ = ["ann", "tier"]

pytestmark = browser_test

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def first_page(as_staff):
    return partial(as_staff, "/admin/")


def test_the_first_page_follows_the_sale_but_not_while_it_is_hidden(first_page, ann, tier):
    page = first_page(viewport=DESKTOP)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_text("This part follows the sale by itself.").wait_for()
    place(wish(ann, tier, 2))
    page.evaluate(HIDE, True)
    assert asked == []
    page.get_by_text("Nothing was booked in the last hour.").wait_for()

    page.evaluate(HIDE, False)  # somebody comes back to the tab
    page.get_by_text("2 tickets sold for $90.00").wait_for()
    answers = []
    page.on("response", lambda response: answers.append(response.status))
    with page.expect_response("**/admin/sells-now/"):
        page.evaluate(HIDE, False)
    assert answers == [304], "nothing has changed, so nothing is sent again"


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_first_page_needs_no_javascript_and_is_not_too_wide(first_page, ann, tier, viewport):
    place(wish(ann, tier, 2))
    page = first_page(viewport=viewport, java_script_enabled=False)
    assert "2 tickets sold for $90.00" in page.get_by_role("main").inner_text()
    page.get_by_text("Load the page again to see what was sold since.").wait_for()
    page.get_by_text("Money as a table").click()
    page.get_by_role("region", name="Money by day").get_by_text("$90.00").first.wait_for()
    # A page that is too wide would be drawn wider than the window.
    assert page.locator("body").bounding_box()["width"] <= viewport["width"]
    page.get_by_role("link", name="Bookings").last.click()
    page.get_by_text("Each line is one booking of one customer").wait_for()


def test_axe_finds_no_fault(visit, first_page, ann, tier):
    place(wish(ann, tier, 2))
    with no_faults() as look:
        look(visit("/admin/"), "Log in")
        page = first_page()
        page.get_by_text("Money as a table").click()
        look(page, "2 tickets sold for $90.00")
        page.goto("/admin/bookings/booking/")
        look(page, "Each line is one booking of one customer")
        page.goto(f"/admin/concerts/concert/{Concert.objects.get().pk}/change/")
        # In Django's table of tiers the columns for a row's name and for a button have no heading.
        look(page, "By the clock of the venue", but=["empty-table-header"])
