"""axe finds no fault on any page of customers, on a phone, in light and in dark."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.tests.mailed import link_of_last
from bookings import claiming
from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from bookings.placing import place
from bookings.tests.guest_pages import EMAIL, last_mail, path_in
from bookings.tests.wishing import hold, wish
from concerts.calling_off import call_off
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory, sell
from concerts.tests.moves import move
from demo.payment_page import pages as payment_page
from demo.payment_page.ledger import Payment
from ticketbook.tests.axe import faults, no_faults
from ticketbook.tests.browser import (
    ann,
    browser_test,
    choose,
    in_seconds,
    log_in,
    press_book,
    sale_changes,
)
from tickets.fulfilment import fulfil

__all__ = ["ann"]

pytestmark = browser_test


@pytest.fixture
def look():
    with no_faults() as look:
        yield look


def on_sale(**changes):
    """A tier of a concert with another tier."""
    tier = TicketTierFactory(concert__description="Doors at seven.", price=45)
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, max_per_customer=4)
    sale_changes(tier, **changes)
    return tier


def all_gone(tier):
    TicketTier.objects.filter(concert=tier.concert_id).update(available_quantity=0)
    return tier


def send_unchecked(page):
    page.evaluate("[...document.querySelectorAll('main form')].at(-1).noValidate = true")
    page.locator("main form").last.get_by_role("button").first.click()


def press(page, name):
    page.get_by_role("main").get_by_role("button", name=name).click()


def fill_in_guest(page):
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_role("textbox", name="E-mail address").fill(EMAIL)


def test_control_faults_are_found_in_light_and_in_dark(visit):
    page = visit("/")
    page.evaluate("""() => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync("#pale { color: var(--line); background: var(--paper) }");
        document.adoptedStyleSheets = [sheet];
        document.querySelector("main").insertAdjacentHTML("beforeend", "<p id=pale>Pale</p><input>");
    }""")
    assert [fault.split(":")[0] for fault in faults(page)] == [
        "color-contrast",
        "label",
        "dark color-contrast",
    ]


def test_the_list(visit, look):
    on_sale()
    sell(on_sale(), 95)
    all_gone(on_sale())
    on_sale(sales_open_at=in_seconds(9000))
    on_sale(sales_close_at=in_seconds(-5))
    on_sale(status=Concert.Status.CANCELLED)
    page = visit("/")
    look(page, "On sale from")
    page.goto("/?q=nothing")
    look(page, "No concert matches")
    page.goto("/?dateFrom=soon")
    look(page, "Correct the search above")
    Concert.objects.all().update(status=Concert.Status.DRAFT)
    page.goto("/")
    look(page, "No concert is announced")


def test_a_concert(visit, look, ann):
    several, held = on_sale(), on_sale()
    sell(several, 100)
    hold(wish(ann, held, 2))
    page = visit("/")
    for tier, sees in [
        (on_sale(), "100 left"),
        (several, "Sold out"),
        (all_gone(held), "All held right now"),
        (all_gone(on_sale()), "If somebody cancels"),
        (on_sale(sales_open_at=in_seconds(9000)), "Sales open in"),
        (on_sale(sales_close_at=in_seconds(-5)), "Sales ended"),
        (on_sale(date=in_seconds(-5)), "This concert has begun"),
        (on_sale(status=Concert.Status.CANCELLED), "has been called off"),
    ]:
        page.goto(f"/concerts/{tier.concert_id}/")
        look(page, sees)


def test_a_form_that_comes_back(visit, look):
    tier = on_sale()
    page = visit(f"/concerts/{tier.concert_id}/")
    send_unchecked(page)
    look(page, "Choose a kind of ticket.")
    choose(page, "General admission", 2)
    fill_in_guest(page)
    TicketTier.objects.update(price=50)
    press_book(page)
    look(page, "The price of General admission went from")
    TicketTier.objects.update(available_quantity=1)
    press_book(page)
    look(page, "Not enough tickets are left")
    sale_changes(tier, status=Concert.Status.DRAFT)
    press_book(page)
    look(page, "This concert is no longer here")


def test_the_bookings_of_a_guest(visit, look, settings):
    tier = on_sale()
    page = visit(f"/concerts/{tier.concert_id}/")
    choose(page, "General admission", 2)
    fill_in_guest(page)
    press_book(page)
    look(page, "Your tickets are booked")
    press(page, "Keep it in an account")
    look(page, "A mail is on its way")
    link = path_in(last_mail("tickets"), "/b/")
    press(page, "Stop the mailed link")
    look(page, "The old link opens nothing any more")
    page.goto(link)
    look(page, "This link opens nothing")
    page.goto(path_in(last_mail(claiming.KEEP), "/bookings/keep/"))
    look(page, "Keep your bookings in an account")
    page.goto("/bookings/")
    look(page, "Confirmed")

    settings.PAYMENT_SUCCESS_RATE = 0
    page.goto(f"/concerts/{tier.concert_id}/?tier={tier.pk}&quantity=1")
    fill_in_guest(page)
    press_book(page)
    look(page, "The payment was declined")


def bookings_of(ann, settings):
    """Ann's bookings in all their states, by a text of their pages."""
    now, seen = timezone.now(), {}

    def booked(sees, quantity=2, make=lambda wish: place(wish).booking):
        seen[sees] = make(wish(ann, on_sale(), quantity))
        fulfil(seen[sees], now=now) if seen[sees].status == "CONFIRMED" else None
        return seen[sees]

    booked("Paid and confirmed.")
    booked("Cancel this booking", quantity=1)
    return_tickets(booked("You returned 1 of 2 tickets."), 1, key=uuid4(), now=now)
    cancel(booked("Your booking is cancelled"), now=now)
    call_off(booked("This concert has been called off.").ticket_tier.concert_id, by=None, now=now)
    move(booked("This concert has moved.").ticket_tier.concert, venue="Arena", date=in_seconds(9e5))
    sale_changes(booked("This concert is over.").ticket_tier, date=now - timedelta(days=1))
    unpaid = [
        booked(sees, make=lambda wish: hold(wish).booking).pk
        for sees in (
            "Waiting for your payment",
            "Go to the payment page",
            "Your time to pay is over",
        )
    ]
    Booking.objects.filter(pk__in=unpaid[1:]).update(action_url="https://pay.example/1")
    over = {"status": "FAILED", "payment_status": "FAILED", "failure_reason": "EXPIRED"}
    Booking.objects.filter(pk=unpaid[2]).update(**over)
    settings.PAYMENT_SUCCESS_RATE = 0
    booked("There are still tickets")
    sell(booked("Sold out now").ticket_tier, 100)
    sale_changes(booked("Not on sale now").ticket_tier, sales_close_at=now)
    return seen


def test_the_bookings_of_a_customer(visit, look, ann, settings):
    page = visit("/")
    log_in(page, "/bookings/")
    look(page, "You have no bookings yet.")
    bookings = bookings_of(ann, settings)
    page.goto("/bookings/")
    look(page, "Cancelled or not paid")
    for sees, booking in bookings.items():
        page.goto(f"/bookings/{booking.pk}/")
        look(page, sees)
    for booked, sees in [
        ("Paid and confirmed.", "Which do you give back?"),
        ("Cancel this booking", "Yes, cancel it"),
    ]:
        page.goto(f"/bookings/{bookings[booked].pk}/cancellation/")
        look(page, sees)
    for booked, sees in [
        ("Paid and confirmed.", "Ticket 1 of 2"),
        ("This concert has been called off.", "This ticket is not valid any more."),
    ]:
        page.goto(f"/tickets/{bookings[booked].tickets.first().token}/")
        look(page, sees)


def test_pages_for_strangers(visit, look, ann):
    page = visit("/accounts/forgotten/")
    look(page, "We send you a mail with a link.")
    page.get_by_label("E-mail address").fill(ann.email)
    press(page, "Send me the link")
    look(page, "Look into your mail")
    page.goto(link_of_last("password_reset"))
    look(page, "Set a new password")
    page.goto("/accounts/reset/x/y/")
    look(page, "This link does not work any more")
    page.goto("/lost-mail/")
    page.get_by_label("E-mail address").fill(ann.email)
    press(page, "Mail me the links")
    look(page, "a mail with links to them is on its way")
    for path, sees in [("signup", "Signed up before?"), ("login", "New here?")]:
        page.goto(f"/accounts/{path}/")
        look(page, sees)
        send_unchecked(page)
        look(page, "This field is required.")


def test_the_account(visit, look, ann):
    elsewhere, page = visit("/"), visit("/")
    log_in(elsewhere)
    log_in(page)
    for path, sees in [
        ("", "Download your data"),
        ("name/", "Your name"),
        ("devices/", "End all others"),
        ("password/", "New password"),
        ("address/", "We send a link to the new address"),
    ]:
        page.goto(f"/accounts/{path}")
        look(page, sees)
    booking = place(wish(ann, on_sale(), 1)).booking
    page.goto("/accounts/close/")
    look(page, "A booking of yours is not finished")
    fulfil(booking, now=timezone.now())
    page.goto("/accounts/close/")
    page.get_by_label("Your password").fill("wrong")
    send_unchecked(page)
    look(page, "This is not your password.")


def test_errors(visit, look, settings):
    page = visit("/not-here/")
    look(page, "This page is not here")
    page.goto("/accounts/login/")
    page.context.clear_cookies()
    send_unchecked(page)
    look(page, "That page had got out of date")
    settings.MAILS_PER_ADDRESS = 1
    for sees in ("Look into your mail", "There were too many attempts."):
        page.goto("/accounts/forgotten/")
        page.get_by_label("E-mail address").fill(EMAIL)
        press(page, "Send me the link")
        page.get_by_text(sees).wait_for()
    look(page, sees)
    for template, sees in [
        ("400.html", "We could not make sense of that"),
        ("403.html", "This is not for you to open"),
        ("500.html", "something went wrong on our side"),
        ("503.html", "Very busy just now"),
        ("refused.html", "Please wait a moment"),
    ]:
        page.set_content(render_to_string(template, {"detail": "Too often.", "status": 429}))
        look(page, sees)
    payment = Payment("k", "r", "open", 9000, "USD", "2 × VIP, Northern Lights", "/", False)
    for said in [("Your payment", ""), payment_page.SLOW, payment_page.CLOSED["paid"]]:
        page.set_content(payment_page._page(said, payment, buttons=True).text)
        look(page, said[0])
