"""The page of a concert while it is open, in a real Chromium: what is left, the opening, and the choice."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from bookings.models import Booking
from bookings.tests.wishing import hold, wish
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook.tests.browser import (
    DESKTOP,
    PASSWORD,
    PHONE,
    browser_test,
    choose,
    in_seconds,
    log_in,
    press_book,
    sale_changes,
)

pytestmark = browser_test

A_MINUTE = 60 * 1000
A_WHILE = 100 * 1000  # longer than the page waits between two questions


@pytest.fixture
def ann():
    return User.objects.create_user("ann@example.com", PASSWORD, name="Ann")


@pytest.fixture
def tier():
    tier = TicketTierFactory(
        concert__name="Northern Lights",
        concert__time_zone="America/New_York",
        price=45,
        max_per_customer=4,
    )
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, price=1600)
    return tier


@pytest.fixture
def on_page(visit, tier):
    """Open the concert's page, with a clock that the test moves on, and a count of what it asks for."""

    def on_page(**options):
        page = visit("/", **options)
        page.clock.install()
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url.split("/")[-2]))
        page.goto(f"/concerts/{tier.concert_id}/")
        return page

    return on_page


def left_of(page, kind):
    return page.locator(".tier", has_text=kind).locator("[data-left-text]")


def now_left(tier, number):
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=number)


def total_of(page):
    return page.locator("[data-total] output").inner_text()


def pass_a_while(page):
    with page.expect_response("**/left/"):
        page.clock.fast_forward(A_WHILE)


def place_of_button(page):
    return page.locator("form button.big").bounding_box()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_what_is_left_changes_in_place_and_nothing_moves(on_page, ann, tier, viewport):
    page = on_page(viewport=viewport)
    choose(page, "General admission", 2)
    page.locator("form button.big").scroll_into_view_if_needed()
    before = place_of_button(page)
    for number, words in [(97, "97 left"), (8, "Last 8"), (0, "Sold out"), (3, "Last 3")]:
        now_left(tier, number)
        pass_a_while(page)
        left_of(page, "General admission").get_by_text(words, exact=True).wait_for()
        assert place_of_button(page) == before
    hold(wish(ann, tier, 3))
    pass_a_while(page)
    left_of(page, "General admission").get_by_text("All held right now").wait_for()
    assert place_of_button(page) == before
    assert page.asked.count("left") == 5
    assert page.get_by_role("radio", name="2", exact=True).is_checked()


def test_a_tier_that_sells_out_while_chosen_stays_chosen_and_is_told(on_page, tier):
    page = on_page()
    choose(page, "General admission", 2)
    before = place_of_button(page)
    now_left(tier, 0)
    pass_a_while(page)
    page.get_by_role("status").get_by_text("General admission: Sold out. Your choice").wait_for()
    assert page.get_by_role("radio", name="General admission").is_checked()
    assert place_of_button(page) == before
    page.get_by_role("radio", name="VIP").check()
    assert page.get_by_role("radio", name="General admission").is_disabled()


def test_a_concert_that_sells_out_and_comes_back_can_be_booked_without_a_reload(
    visit, ann, tier, on_page
):
    page = visit("/")
    log_in(page)
    TicketTier.objects.update(available_quantity=0)
    page.clock.install()
    page.goto(f"/concerts/{tier.concert_id}/")
    assert page.locator("[data-form]").count() == 0
    now_left(tier, 5)
    page.clock.fast_forward(A_WHILE)
    page.get_by_role("status").get_by_text("Tickets are on sale now.").wait_for()
    choose(page, "General admission", 2)
    press_book(page)
    page.get_by_role("heading", name="Your tickets are booked").wait_for()


def test_a_hidden_page_asks_nothing_and_asks_at_once_when_it_is_shown(on_page, tier):
    page = on_page()
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    for _ in range(10):
        page.clock.fast_forward(A_WHILE)
    assert "left" not in page.asked
    now_left(tier, 7)
    page.evaluate(hide, False)
    left_of(page, "General admission").get_by_text("Last 7").wait_for()
    with page.expect_response("**/left/") as answer:
        page.clock.fast_forward(A_WHILE)
    assert answer.value.status == 304


def test_a_page_asks_no_more_when_the_sale_is_over(on_page, tier):
    page = on_page()
    sale_changes(tier, sales_close_at=in_seconds(-1))
    page.clock.fast_forward(A_WHILE)
    page.get_by_role("status").get_by_text("Sales ended").wait_for()
    page.asked.clear()
    for _ in range(10):
        page.clock.fast_forward(10 * A_MINUTE)
    assert page.asked == []


def test_a_concert_that_is_called_off_says_so_while_the_page_is_open(on_page, tier):
    page = on_page()
    sale_changes(tier, status=Concert.Status.CANCELLED)
    page.clock.fast_forward(A_WHILE)
    page.get_by_role("status").get_by_text("called off").wait_for()
    assert page.locator("[data-form]").count() == 0


# --- The opening --------------------------------------------------------------------------------


def test_the_form_is_filled_in_early_and_opens_by_itself(visit, ann, tier):
    page = visit("/")
    log_in(page)
    sale_changes(tier, sales_open_at=in_seconds(10 * 60))
    page.clock.install()
    page.goto(f"/concerts/{tier.concert_id}/")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    button = page.locator("form button.big")
    assert button.is_disabled()
    assert button.inner_text().startswith("Opens on")
    choose(page, "General admission", 3)
    key = page.locator("[name=idempotency_key]").input_value()
    button.scroll_into_view_if_needed()
    before, told = place_of_button(page), page.get_by_role("status")
    page.clock.run_for(5 * A_MINUTE)
    told.get_by_text("Sales open in five minutes.").wait_for()
    page.clock.run_for(4 * A_MINUTE)
    told.get_by_text("Sales open in one minute.").wait_for()
    page.clock.run_for(30_000)
    page.get_by_text("Sales open in 0:").wait_for()
    sale_changes(tier, sales_open_at=in_seconds(-1))
    asked.clear()
    page.clock.run_for(31_000)
    told.get_by_text("Tickets are on sale now.").wait_for()
    assert button.is_enabled()
    assert place_of_button(page) == before
    assert page.locator("[name=idempotency_key]").input_value() == key
    button.click()
    page.get_by_role("heading", name="Your tickets are booked").wait_for()
    assert Booking.objects.get().quantity == 3


def test_the_opening_itself_fetches_nothing(on_page, tier):
    sale_changes(tier, sales_open_at=in_seconds(20))
    page = on_page()
    page.asked.clear()
    page.clock.run_for(21_000)
    page.get_by_role("status").get_by_text("Tickets are on sale now.").wait_for()
    assert not {"left", str(tier.concert_id)} & set(page.asked)
    assert page.get_by_role("button", name="Book and pay").is_enabled()


def test_the_countdown_does_not_follow_the_wall_clock_of_the_device(visit, tier):
    sale_changes(tier, sales_open_at=in_seconds(3600))
    page = visit("/")
    page.clock.install(time=timezone.now() + timedelta(days=400))
    page.goto(f"/concerts/{tier.concert_id}/")
    page.get_by_text("Sales open in 59:").wait_for()
    assert page.locator("form button.big").is_disabled()


def test_an_opening_that_staff_put_off_is_noticed_and_what_was_typed_stays(on_page, tier):
    sale_changes(tier, sales_open_at=in_seconds(300))
    page = on_page()
    choose(page, "General admission", 3)
    sale_changes(tier, sales_open_at=in_seconds(7000))
    page.clock.fast_forward(A_WHILE)
    page.get_by_text("Sales open in 1 h").wait_for()
    assert page.get_by_role("radio", name="3", exact=True).is_checked()
    assert page.locator("form button.big").is_disabled()


def test_without_javascript_the_page_shows_prices_and_waits_for_a_reload(visit, tier):
    sale_changes(tier, sales_open_at=in_seconds(3600))
    page = visit(f"/concerts/{tier.concert_id}/", java_script_enabled=False)
    page.get_by_text("Load this page again then.").wait_for()
    assert page.locator("form button.big").is_disabled()
    sale_changes(tier, sales_open_at=in_seconds(-1))
    page.reload()
    choose(page, "General admission", 6)
    assert page.locator("[data-total]").is_hidden()
    assert page.locator("form button.big").is_enabled()


# --- The choice ---------------------------------------------------------------------------------


def test_the_total_follows_the_choice(on_page):
    page = on_page()
    assert total_of(page) == "Choose a kind of ticket"
    choose(page, "General admission", 3)
    assert total_of(page) == "$135.00"
    choose(page, "VIP", 3)
    assert total_of(page) == "$4,800.00"


@pytest.mark.parametrize(("currency", "words"), [("JPY", "JPY\xa04,800"), ("EUR", "€4,800.00")])
def test_the_total_is_written_as_prices_are(on_page, settings, currency, words):
    settings.CURRENCY = currency
    page = on_page()
    choose(page, "VIP", 3)
    assert total_of(page) == words


def test_no_more_are_offered_than_one_can_have(on_page, tier):
    page = on_page()

    def offered():
        return page.locator("[name=quantity]:enabled").count()

    assert offered() == 10
    choose(page, "General admission", 1)
    assert offered() == 4
    choose(page, "VIP", 7)
    page.get_by_role("radio", name="General admission").check()
    assert total_of(page) == "At most 4 of these"
    now_left(tier, 2)
    pass_a_while(page)
    page.get_by_role("radio", name="1", exact=True).check()
    assert offered() == 2
