"""A message to holders in a real Chromium: the mail is drawn as it is, on a phone and without JavaScript."""

from functools import partial

import pytest

from bookings.placing import place
from bookings.tests.wishing import wish
from ticketbook.tests.axe import no_faults
from ticketbook.tests.browser import PHONE, ann, browser_test, tier
from tickets.models import HolderMessage

__all__ = ["ann", "tier"]

pytestmark = browser_test


@pytest.fixture
def form(as_staff, ann, tier):
    """Open the page that writes to the holders of a concert as staff."""
    place(wish(ann, tier, 2))
    return partial(as_staff, f"/admin/concerts/concert/{tier.concert_id}/message/")


def press(page, name):
    page.get_by_role("main").get_by_role("button", name=name).click()


def test_the_mail_is_drawn_with_its_own_styles_and_sent_on_a_phone_without_javascript(form):
    page = form(viewport=PHONE, java_script_enabled=False)
    page.get_by_label("Subject").fill("Doors open at six")
    page.get_by_label("Text").fill("At <b>six</b>.\n\nCome in time.")
    press(page, "Look at the mail")
    mail = page.frame_locator("iframe")
    mail.get_by_text("At <b>six</b>.").wait_for()
    heading = mail.get_by_role("heading", name="Doors open at six")
    size = heading.evaluate("heading => getComputedStyle(heading).fontSize")
    assert size == "24px", "as its style attribute says"
    assert page.locator("body").bounding_box()["width"] <= PHONE["width"]
    press(page, "Send to 1 person")
    page.get_by_text("The message goes to 1 person.").wait_for()
    assert HolderMessage.objects.get().subject == "Doors open at six"


def test_axe_finds_no_fault(form):
    page = form()
    with no_faults() as look:
        look(page, "It reaches 1 person")
        page.get_by_label("Subject").fill("{name}")
        press(page, "Look at the mail")
        look(page, "Leave out the braces")
        page.get_by_label("Subject").fill("Doors")
        page.get_by_label("Text").fill("At six.")
        press(page, "Look at the mail")
        look(page, "The mail, with an invented booking")
        press(page, "Send to 1 person")
        look(page, "This page says how far it is.")
        page.goto("/admin/tickets/holdermessage/")
        look(page, "What staff have written to all who hold tickets")
