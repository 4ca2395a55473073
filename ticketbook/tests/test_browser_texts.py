"""Any text in a real Chromium: long words break, and each text is drawn in its own direction."""

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory
from demo.payment_page import pages as payment_page
from demo.payment_page.ledger import Payment
from ticketbook.tests.browser import PASSWORD, browser_test
from tickets.fulfilment import fulfil
from tickets.models import Ticket

pytestmark = browser_test

GERMAN = "Donaudampfschifffahrtsgesellschaftskapitänsmützenband"
WELSH = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
EMAIL = f"{'w' * 64}@{'w' * 62}.{'w' * 62}.{'w' * 58}.com"
HEBREW = "שלום עולם (2024)!"

# What sticks out of the window, whether one can scroll to it or not.
STICKS_OUT = """
[...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    const unseen = box.width <= 1 || element.closest(".skip, svg, [type=hidden]");
    return !unseen && (box.left < 0 || box.right > innerWidth + 0.5);
}).map(element => element.outerHTML.slice(0, 100))
"""
BROKEN_PRICES = """
[...document.querySelectorAll(".price, .tier-price")].filter(element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return element.innerText.includes("$") && range.getBoundingClientRect().height > 40;
}).map(element => element.outerHTML)
"""


@pytest.fixture
def ann():
    return User.objects.create_user(EMAIL, PASSWORD, name="W" * 150)


def on_sale(name, artist, venue):
    tier = TicketTierFactory(
        price="9999999.99",
        concert__name=name,
        concert__artist=artist,
        concert__venue=venue,
        concert__description=f"{name}\n\n{artist} {venue}",
    )
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, max_per_customer=2)
    return tier


def log_in(page):
    page.goto("/accounts/login/")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def send_unchecked(page):
    page.evaluate("[...document.querySelectorAll('main form')].at(-1).noValidate = true")
    page.locator("main form").last.get_by_role("button").first.click()
    page.wait_for_load_state()


def drawn_without_the_site(text):
    """Error pages, and the pages of the payment page's own process."""
    errors = ["404.html", "403_csrf.html", "503.html", "refused.html", "accounts/logout.html"]
    for template in errors:
        yield template, render_to_string(template, {"detail": "Busy."})
    payment = Payment("k", "r", "open", 999_999_999, "USD", f"10 × VIP, {text}", "/", False)
    for said in [("Your payment", ""), payment_page.SLOW, payment_page.CLOSED["paid"]]:
        yield said[0], payment_page._page(said, payment, buttons=True).text


def every_page(page, tier, text):
    """Go to one page after the other. Yields a name for each."""
    concert = f"/concerts/{tier.concert_id}/"
    for path in ["/", f"/?q={text}", f"/?q={text}&dateFrom={text}", concert]:
        page.goto(path)
        yield path
    page.goto("/accounts/signup/")
    page.get_by_label("Your name").fill(text)
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill("1")
    yield "sign-up"
    send_unchecked(page)
    yield "sign-up with an error"
    page.goto("/accounts/login/")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill("1")
    send_unchecked(page)
    yield "log-in with an error"
    log_in(page)
    page.goto(f"{concert}?quantity=11")
    send_unchecked(page)
    yield "the form with an error"
    booking = Booking.objects.get(ticket_tier=tier)
    ticket = fulfil(booking, now=timezone.now())[0]
    Ticket.objects.filter(pk=ticket.pk).update(holder_name=text)
    for path in ["", f"{booking.pk}/", f"{booking.pk}/cancellation/"]:
        page.goto(f"/bookings/{path}")
        yield f"bookings/{path}"
    page.goto(f"/tickets/{ticket.token}/")
    yield "ticket"
    page.goto("/lost-mail/")
    send_unchecked(page)
    yield "lost mail"
    Concert.objects.filter(pk=tier.concert_id).update(status="CANCELLED")
    page.goto(concert)
    yield "called off"
    for name, html in drawn_without_the_site(text):
        page.set_content(html)
        yield name


def test_no_text_makes_a_page_scroll_sideways_or_hides_a_price(visit, ann):
    tier = on_sale("W" * 120, f"{GERMAN} {WELSH}", "宵" * 200)
    place(wish(ann, tier, 3))
    on_sale(WELSH, "W" * 200, "m" * 99 + " " + "ש" * 100)
    page = visit("/", viewport={"width": 320, "height": 700})
    for name in every_page(page, tier, "W" * 120):
        for width in (390, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") == width, name
            assert page.evaluate(STICKS_OUT) == [], name
            assert page.evaluate(BROKEN_PRICES) == [], name


# The direction in which each text with a Hebrew letter is drawn, and each field that has one.
DIRECTIONS = r"""
() => {
    const hebrew = /[\u0590-\u05ff]/, found = [];
    const walk = document.createTreeWalker(document, NodeFilter.SHOW_TEXT);
    while (walk.nextNode())
        if (hebrew.test(walk.currentNode.data))
            found.push(walk.currentNode.parentElement);
    const inputs = [...document.querySelectorAll("input:not([type=hidden])")];
    found.push(...inputs.filter(input => hebrew.test(input.value)));
    return found.map(e => [e.localName, getComputedStyle(e).direction]).filter(f => f[0] !== "title");
}
"""


def test_a_hebrew_text_is_drawn_from_right_to_left(visit, ann):
    tier = on_sale(HEBREW, HEBREW, HEBREW)
    place(wish(ann, tier, 3))
    page = visit("/")
    seen = {}
    for name in every_page(page, tier, HEBREW):
        found = page.evaluate(DIRECTIONS)
        seen[name] = len(found)
        assert {direction for _, direction in found} <= {"rtl"}, (name, found)
    assert seen["/"] == 3
    assert seen[f"/?q={HEBREW}"] == 4
    assert seen[f"/concerts/{tier.concert_id}/"] == 5
    assert seen["sign-up"] == 1
    assert seen["bookings/"] == 3
    assert seen["ticket"] == 4
    assert seen["Your payment"] == 1


def test_what_stands_beside_a_hebrew_text_keeps_its_place(visit):
    tier = on_sale(HEBREW, HEBREW, HEBREW)
    page = visit(f"/concerts/{tier.concert_id}/")
    for part in [".tier-face", ".facts dt", "time", "main", ".back"]:
        direction = page.locator(part).first.evaluate("e => getComputedStyle(e).direction")
        assert direction == "ltr", part
    left = "e => e.getBoundingClientRect().left"
    name, price = (page.locator(part).first for part in (".tier-name", ".tier-price"))
    assert name.evaluate(left) < price.evaluate(left)
