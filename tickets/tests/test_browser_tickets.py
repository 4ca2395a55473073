"""A customer with a real Chromium books, opens the tickets on a phone, and hands one on."""

import re
from io import BytesIO

import pytest
import vobject
import zxingcpp
from PIL import Image

from bookings.models import Booking
from bookings.placing import place
from bookings.tests.wishing import wish
from mail.composing import compose
from mail.models import Mail
from ticketbook.tests.browser import (
    PASSWORD,
    ann,
    browser_test,
    choose,
    log_in,
    press_book,
    tier,
)
from tickets import tokens
from tickets.tests.test_pdf import needs_poppler, poppler

__all__ = ["ann", "poppler", "tier"]

pytestmark = browser_test


def codes(picture):
    """What a decoder reads, from the top of the picture to its end."""
    found = zxingcpp.read_barcodes(picture.convert("L"))
    return [each.text for each in sorted(found, key=lambda each: each.position.top_left.y)]


def seen(page, *, whole=True):
    return codes(Image.open(BytesIO(page.screenshot(full_page=whole))))


def downloaded(page, link):
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_ann_books_and_a_scanner_reads_her_tickets(visit, ann, tier, javascript):
    options = {"color_scheme": "dark", "java_script_enabled": javascript}
    page = visit("/", **options)
    log_in(page, f"/concerts/{tier.concert_id}/")
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="Your tickets", exact=True).wait_for()
    booking = Booking.objects.get()
    first, second = list(booking.tickets.select_related("booking__ticket_tier").order_by("number"))
    assert seen(page) == [first.token, second.token]
    assert tokens.verify(seen(page)[1]).ticket == second.pk

    name, calendar = downloaded(page, "Add to calendar")
    event = vobject.readOne(calendar.decode()).vevent
    assert name == "concert.ics"
    assert "Northern Lights" in event.summary.value
    assert event.dtstart.value == tier.concert.date.replace(microsecond=0)

    # Bob gets the address of the second ticket, and has no account.
    href = page.get_by_role("link", name="Page of this ticket").last.get_attribute("href")
    of_bob = visit(href, **options)
    assert of_bob.get_by_role("link", name="Log in").count() == 1
    assert seen(of_bob, whole=False) == [second.token]  # on the first screen
    assert second.code in of_bob.get_by_role("main").inner_text()

    page.get_by_role("link", name="Cancel all or some tickets").click()
    page.get_by_role("checkbox", name="Ticket 2").check()
    page.get_by_role("button", name="Yes, give them back").click()
    page.get_by_text("You returned 1 of 2 tickets.").wait_for()
    assert seen(page) == [first.token]
    of_bob.reload()
    of_bob.get_by_text("This ticket is not valid any more.").wait_for()
    assert seen(of_bob) == []
    assert of_bob.get_by_role("img", name="QR code").count() == 0


@needs_poppler
def test_a_scanner_reads_the_tickets_that_she_prints(visit, ann, tier, poppler, tmp_path):
    booking = place(wish(ann, tier, 4)).booking
    page = visit("/")
    log_in(page, f"/bookings/{booking.pk}/")
    name, data = downloaded(page, "Print tickets")
    assert name == "tickets.pdf"
    tickets = booking.tickets.select_related("booking__ticket_tier").order_by("number")
    poppler("pdftoppm", data, "-r", "100", "-mono")
    pages = [codes(Image.open(file)) for file in sorted(tmp_path.glob("page-*"))]
    assert pages == [[each.token] for each in tickets]


def test_whoever_has_lost_the_mail_gets_the_links_without_scripts(visit, ann, tier):
    booking = place(wish(ann, tier, 1)).booking
    page = visit("/accounts/login/", java_script_enabled=False)
    page.get_by_role("link", name="We mail you the links").click()
    page.get_by_label("E-mail address").fill("Ann@Example.com")
    page.get_by_role("button", name="Mail me the links").click()
    page.get_by_role("status").get_by_text("a mail with links to them is on its way").wait_for()
    links = re.findall(
        r"https?://[^/]+(/\S+/\S+/)$", compose(Mail.objects.last()).body, re.MULTILINE
    )
    of_booking, of_ticket = links
    page.goto(of_ticket)
    assert seen(page) == [of_ticket.split("/")[2]]
    page.goto(of_booking)
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert page.url.endswith(f"/bookings/{booking.pk}/")

    page.goto(of_ticket)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()
