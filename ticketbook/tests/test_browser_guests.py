"""A guest with a real Chromium on a phone: books without an account, and comes back by the mailed link."""

from urllib.parse import urlsplit

import pytest

from accounts.models import User
from bookings import claiming
from bookings.models import Booking
from bookings.tests.guest_pages import EMAIL, last_mail, path_in
from ticketbook.tests.browser import (
    PASSWORD,
    TOO_SMALL,
    UNLABELLED,
    browser_test,
    choose,
    press_book,
    tier,
)

__all__ = ["tier"]

pytestmark = browser_test


def look(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    assert page.evaluate(UNLABELLED) == [], page.url
    assert page.evaluate(TOO_SMALL) == [], page.url


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no javascript"])
def test_a_guest_books_and_comes_back_by_the_mail_and_keeps_it(visit, tier, javascript):
    page = visit(f"/concerts/{tier.concert_id}/", java_script_enabled=javascript)
    look(page)
    choose(page, "General admission", 2)
    who = page.get_by_role("group", name="Who books")
    who.get_by_role("textbox", name="Your name").fill("Gwen")
    who.get_by_role("textbox", name="E-mail address").fill("gwen at home")
    press_book(page)  # the browser itself, or the page, says what is wrong
    who.get_by_role("textbox", name="E-mail address").fill(EMAIL)
    who.get_by_role("textbox", name="E-mail address").press("Enter")
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    look(page)
    booking = Booking.objects.get()
    assert (booking.quantity, booking.user.email, booking.user.is_guest) == (2, EMAIL, True)

    page.get_by_role("banner").get_by_role("link", name="My bookings").click()
    page.get_by_role("heading", name="My bookings").wait_for()
    look(page)
    page.get_by_role("link", name="Northern Lights").click()

    other = visit(path_in(last_mail("tickets"), "/b/"), java_script_enabled=javascript)
    other.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert "/b/" not in other.url

    page.get_by_role("button", name="Keep it in an account").click()
    page.get_by_text(f"A mail is on its way to {EMAIL}.").wait_for()
    page.goto(path_in(last_mail(claiming.KEEP), "/bookings/keep/"))
    look(page)
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up and keep them").click()
    page.get_by_text("1 booking is in your account now.").wait_for()
    assert Booking.objects.get().user == User.objects.get(email=EMAIL)


def test_a_stopped_link_opens_nothing_elsewhere(visit, tier):
    page = visit(f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_role("textbox", name="E-mail address").fill(EMAIL)
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    link = path_in(last_mail("tickets"), "/b/")
    page.get_by_role("button", name="Stop the mailed link").click()
    page.get_by_text("The old link opens nothing any more").wait_for()
    other = visit(link)
    other.get_by_role("heading", name="This link opens nothing").wait_for()
    look(other)


FORM = """
- group "Kind of ticket":
  - text: Kind of ticket
  - radio "General admission $45.00 100 left"
  - text: General admission $45.00 100 left
  - radio "VIP $160.00 100 left" [checked]
  - text: VIP $160.00 100 left
- group "How many":
  - text: How many
  - radio "1"
  - text: "1"
  - radio "2" [checked]
  - text: "2"
  - radio "3"
  - text: "3"
  - radio "4"
  - text: "4"
  - radio "5"
  - text: "5"
  - radio "6"
  - text: "6"
  - radio "7"
  - text: "7"
  - radio "8"
  - text: "8"
  - radio "9"
  - text: "9"
  - radio "10"
  - text: "10"
- group "Who books":
  - text: Who books Your name
  - textbox "Your name"
  - text: E-mail address
  - textbox "E-mail address"
  - paragraph: The tickets go to this address. You need no account.
- paragraph:
  - text: Total
  - status: $320.00
- paragraph: "No fees: what you see is what you pay."
- button "Book and pay"
- paragraph: You pay now, and may cancel until the concert begins.
- button "Log in instead"
- paragraph: If you have an account, your choice is kept while you log in.
"""


def test_what_a_screen_reader_is_told_about_the_form(visit, tier):
    page = visit(f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 2)
    assert page.locator("[data-form]").aria_snapshot() == FORM.strip()


# What has the focus has a ring, or what is drawn in its place has one, and it is on the screen. The button in
# a date field is the browser's own; the field is then the active element, and has no focus itself.
FOCUS_IS_SEEN = """() => {
    const ring = (of, part) => {
        const style = getComputedStyle(of, part);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    };
    const active = document.activeElement;
    const drawn = active.parentElement.matches(".tier, .chip") ? active.nextElementSibling : active;
    const box = drawn.getBoundingClientRect();
    const inside = active.type === "date" && !active.matches(":focus");
    return (ring(drawn) || ring(drawn, "::after") || inside) && box.top >= 0 && box.bottom <= innerHeight;
}"""


def press(page, key):
    """Press a key. Whatever has the focus then is seen."""
    page.keyboard.press(key)
    assert page.evaluate(FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML")


def tab_to(page, target):
    for _ in range(30):
        press(page, "Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {target}")


def test_a_guest_books_with_the_keyboard_alone(visit, tier):
    page = visit("/")
    tab_to(page, page.get_by_role("link", name="Northern Lights"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Northern Lights").wait_for()
    page.wait_for_load_state()
    tab_to(page, page.get_by_role("link", name="Skip to the content"))
    page.keyboard.press("Enter")
    tab_to(page, page.locator("[name=tier]").first)
    press(page, "Space")
    press(page, "ArrowDown")
    tab_to(page, page.get_by_role("radio", name="1", exact=True))
    for _ in range(2):
        press(page, "ArrowRight")
    tab_to(page, page.get_by_role("textbox", name="Your name"))
    page.keyboard.type("Gwen")
    tab_to(page, page.get_by_role("textbox", name="E-mail address"))
    page.keyboard.type(EMAIL)
    tab_to(page, page.get_by_role("button", name="Book and pay"))
    page.keyboard.press("Space")
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    booking = Booking.objects.get()
    assert page.url.endswith(f"/bookings/{booking.pk}/")
    assert (booking.ticket_tier.tier_type, booking.quantity) == ("VIP", 3)
    # And on to the tickets: what can be pressed there is seen, too.
    tab_to(page, page.get_by_role("link", name="Cancel all or some tickets"))


def test_booking_asks_the_server_for_one_answer_and_one_page(visit, tier):
    page, asked = visit("/"), []
    page.on("request", lambda asks: asked.append((asks.method, urlsplit(asks.url).path)))
    page.goto(f"/concerts/{tier.concert_id}/")
    choose(page, "VIP", 1)
    page.get_by_role("textbox", name="Your name").fill("Gwen")
    page.get_by_role("textbox", name="E-mail address").fill(EMAIL)
    before = {path for _, path in asked}
    asked.clear()
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    page.wait_for_load_state()
    # Files that the page before has had stay in the browser. Also, that page may have asked what is left.
    assert [each for each in asked if each[1] not in before and not each[1].endswith("/left/")] == [
        ("POST", "/bookings/"),
        ("GET", f"/bookings/{Booking.objects.get().pk}/"),
    ]
