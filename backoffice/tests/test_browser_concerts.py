"""Staff take a concert through its life in a real Chromium: plan, publish, move, duplicate, call off."""

from functools import partial

import pytest
from django.utils import timezone

from bookings.models import Refund
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from ticketbook.tests.axe import no_faults
from ticketbook.tests.browser import DESKTOP, PHONE, ann, browser_test

__all__ = ["ann"]

pytestmark = browser_test


@pytest.fixture
def tier():
    return TicketTierFactory(concert__name="Northern Lights", concert__status="DRAFT", price=45)


@pytest.fixture
def desk(as_staff, tier):
    """Open the page of the concert as staff."""
    return partial(as_staff, f"/admin/concerts/concert/{tier.concert_id}/change/")


def say(page, text):
    page.get_by_role("main").get_by_text(text).first.wait_for()


def press(page, name):
    page.get_by_role("main").get_by_role("button", name=name).click()


def follow(page, name):
    page.get_by_role("main").get_by_role("link", name=name, exact=True).click()


def all_is_sent():
    now = timezone.now()
    Refund.objects.update(status="SENT", sent_at=now)
    Mail.objects.filter(kind="called_off").update(status="SENT", sent_at=now)


def test_a_concert_is_planned_published_moved_and_called_off(desk, ann, tier):
    page = desk(viewport=DESKTOP)
    follow(page, "Description")
    page.get_by_label("Description").fill("Loud.")
    press(page, "Save and continue editing")
    say(page, "It says what people are going to hear.")
    follow(page, "View on site")
    say(page, "This is a draft: only staff see it.")
    follow(page, "Back to its form")
    follow(page, "Publish")
    press(page, "Publish")
    say(page, "It is published. It is on sale.")
    place(wish(ann, tier, 2))
    follow(page, "Move")
    say(page, "1 customer has tickets, and each is told by mail.")
    page.get_by_label("Venue").fill("Arena")
    page.get_by_label("Reason").fill("The hall burnt down.")
    press(page, "Move")
    say(page, "at Arena now. 1 customer has tickets")
    follow(page, "Duplicate")
    page.get_by_label("Date, date").fill("2031-05-01")
    page.get_by_label("Date, time").fill("20:00")
    press(page, "Duplicate")
    say(page, "This is the new draft, on Thu 1 May 2031, 20:00")
    page.goto(f"/admin/concerts/concert/{tier.concert_id}/change/")
    follow(page, "Call off")
    say(page, "1 booking with 2 tickets will be cancelled, and $90.00 goes back")
    page.get_by_label("Reason").fill("The singer is ill.")
    press(page, "Call off")
    say(page, "0 of 1 refunds sent: $0.00 of $90.00. 1 due: $90.00.")
    say(page, "This part follows by itself.")
    all_is_sent()
    say(page, "All is done that happens by itself.")
    say(page, "1 of 1 refunds sent: $90.00 of $90.00.")


def test_it_needs_no_javascript_and_is_not_too_wide_on_a_phone(desk, ann, tier):
    Concert.objects.update(description="Loud.")
    page = desk(viewport=PHONE, java_script_enabled=False)
    follow(page, "Publish")
    press(page, "Publish")
    place(wish(ann, tier, 2))
    for verb in ("Move", "Duplicate", "Call off"):
        page.goto(f"/admin/concerts/concert/{tier.concert_id}/change/")
        follow(page, verb)
        assert page.locator("body").bounding_box()["width"] <= PHONE["width"], verb
    page.get_by_label("Reason").fill("The singer is ill.")
    press(page, "Call off")
    say(page, "Load the page again to see how far it is.")
    all_is_sent()
    page.reload()
    say(page, "All is done that happens by itself.")
    assert page.locator("body").bounding_box()["width"] <= PHONE["width"]


def test_axe_finds_no_fault(desk, ann, tier):
    page = desk(viewport=DESKTOP)
    # In Django's table of tiers the columns for a row's name and for a button have no heading.
    form = {"but": ["empty-table-header"]}
    with no_faults() as look:
        look(page, "Before it is published", **form)
        follow(page, "Publish")
        look(page, "On its checklist this is open:")
        press(page, "Publish")
        place(wish(ann, tier, 2))
        follow(page, "Unpublish")
        look(page, "cannot be hidden from its customers")
        follow(page, "Back")
        for verb in ("Move", "Duplicate"):
            follow(page, verb)
            press(page, verb)  # nothing is typed, so it is refused
            look(page, "Nothing was done.")
            follow(page, "Change nothing")
        page.goto("/admin/concerts/concert/")
        look(page, "General admission: 2 of 100")
        page.goto(f"/admin/concerts/concert/{tier.concert_id}/call-off/")
        page.get_by_label("Reason").fill("ill")
        press(page, "Call off")
        look(page, "0 of 1 refunds sent")
