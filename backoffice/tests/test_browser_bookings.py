"""The pages of bookings in a real Chromium: a customer calls, and staff help."""

from datetime import timedelta

import pytest
from django.utils import timezone

from bookings.models import Booking, PaymentEvent
from bookings.placing import place
from bookings.tests.wishing import wish
from ticketbook.tests.axe import no_faults
from ticketbook.tests.browser import DESKTOP, PHONE, ann, browser_test, tier
from tickets.fulfilment import fulfil

__all__ = ["ann", "tier"]

pytestmark = browser_test
# In Django's tables of inlines and lists, columns for a row's name and for a button have no heading.
OF_DJANGO = ["empty-table-header"]


@pytest.fixture
def booking(ann, tier):
    booking = place(wish(ann, tier, 4)).booking
    fulfil(booking, now=timezone.now())
    return booking


def page_of(booking):
    return f"/admin/bookings/booking/{booking.pk}/change/"


def test_on_a_phone_and_without_javascript_some_tickets_are_returned(as_staff, booking):
    page = as_staff(page_of(booking), viewport=PHONE, java_script_enabled=False)
    page.get_by_text("What has happened").wait_for()
    assert page.locator("body").bounding_box()["width"] <= PHONE["width"]
    page.get_by_role("link", name="Return some tickets").click()
    page.get_by_label("Ticket 2,").check()
    page.get_by_label("Reason").fill("Broken seat")
    page.get_by_role("button", name="Return some tickets").click()
    page.get_by_text("1 ticket went back on sale, and the booking keeps 3.").wait_for()
    page.get_by_text("Gave back 1 of 4 tickets (number 2).").wait_for()
    page.get_by_text("Broken seat").first.wait_for()


def test_bookings_are_filtered_by_a_concert_that_is_typed(as_staff, booking, tier):
    page = as_staff("/admin/bookings/booking/", viewport=DESKTOP)
    page.locator(".select2-selection").click()
    page.locator(".select2-search__field").fill("lights")
    page.locator(".select2-results__option", has_text="Northern Lights").click()
    page.locator("#changelist-filter form", has_text="Concert").get_by_role("button").click()
    page.wait_for_url(f"**concert={tier.concert_id}**")
    page.get_by_role("link", name="General admission", exact=True).click()
    page.get_by_role("link", name=booking.number).wait_for()


def test_axe_finds_no_fault(as_staff, booking, ann, tier):
    event = PaymentEvent.objects.create(
        gateway="hosted", event_id="1", type="paid", key=booking.pk, alert="Odd."
    )
    failed = place(wish(ann, tier, 1)).booking
    Booking.objects.filter(pk=failed.pk).update(
        status="FAILED",
        payment_status="FAILED",
        failure_reason="DECLINED",
        created_at=timezone.now() - timedelta(days=1),
    )
    with no_faults() as look:
        page = as_staff("/admin/bookings/booking/", viewport=PHONE)
        look(page, "Each line is one booking of one customer")
        page.goto(page_of(booking))
        look(page, "What has happened", but=OF_DJANGO)
        for name, sees in [
            ("cancel", "This cannot be undone."),
            ("return-tickets", "Their price is"),
            ("refund", "The customer keeps 4 tickets."),
            ("send-tickets", "one more mail"),
            ("change-address", "It goes to the new address"),
            ("names", "Who comes with each ticket."),
        ]:
            page.goto(f"/admin/bookings/booking/{booking.pk}/{name}/")
            look(page, sees)
        page.goto(f"/admin/bookings/booking/{failed.pk}/cancel/")
        look(page, "Only a confirmed booking has tickets.")
        page.goto(f"/admin/bookings/booking/{failed.pk}/ask-gateway/")
        look(page, "is asked what became of")
        page.goto(f"/admin/bookings/paymentevent/{event.pk}/dismiss/")
        look(page, "It changes nothing of the booking")
        page.goto("/admin/bookings/booking/")
        page.locator("#action-toggle").check()
        page.get_by_label("Action").first.select_option("cancel")
        page.get_by_role("button", name="Go").first.click()
        look(page, "Nothing has been done yet.")
        page.get_by_label("Reason").fill("Storm")
        page.get_by_role("button", name="Cancel and refund").click()
        look(page, "Done: 1 of 1.")
