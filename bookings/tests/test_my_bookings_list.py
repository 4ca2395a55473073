"""My bookings: what comes, what is over, and what was cancelled or not paid."""

import re
import uuid
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from bookings.tests.pages import page_of
from concerts.calling_off import call_off
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from concerts.tests.moves import move

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def concert():
    """A tier of a concert with this name, so many days from now."""

    def concert(name, days=30):
        date = timezone.now() + timedelta(days=days)
        return TicketTierFactory(concert__name=name, concert__date=date)

    return concert


@pytest.fixture
def book_over(book):
    """Book when the concert is still to come, which is over now."""

    def book_over(user, tier, days):
        booking = book(user, tier)
        Concert.objects.filter(pk=tier.concert_id).update(
            date=timezone.now() - timedelta(days=days)
        )
        return booking

    return book_over


def listed(response, name=None):
    """The names of the concerts on the page, or of this section, in order."""
    return [
        booking.ticket_tier.concert.name
        for section, page in response.context["pages"]
        for booking in page.rows
        if name in (None, section.name)
    ]


def main_of(response):
    text = re.sub(r"<[^>]+>", " ", response.content.decode().partition("<main")[2])
    return " ".join(unescape(text).split())


def test_upcoming_past_and_ended_are_apart_each_in_its_order(
    as_ann, ann, bob, book, book_over, concert, settings
):
    book(ann, concert("Later", 40)), book(ann, concert("Soon", 2))
    book_over(ann, concert("Long ago"), 300), book_over(ann, concert("Last week"), 7)
    cancel(book(ann, concert("Given back")), now=timezone.now())
    settings.PAYMENT_SUCCESS_RATE = 0
    book(ann, concert("Not paid"))
    settings.PAYMENT_OUTAGE = True
    book(ann, concert("Open", 3))
    book(bob, concert("Bob's"))
    page = as_ann.get("/bookings/")
    assert listed(page, "upcoming") == ["Soon", "Open", "Later"]
    assert listed(page, "past") == ["Last week", "Long ago"]
    assert listed(page, "ended") == ["Not paid", "Given back"]
    titles = re.findall(r"<h2[^>]*>([^<]+)", page.content.decode())
    assert titles == ["Upcoming", "Past", "Cancelled or not paid"]
    assert "Bob" not in page.content.decode()


def test_a_concert_that_has_just_begun_is_still_upcoming(as_ann, ann, book_over, concert):
    book_over(ann, concert("Now"), 5 / 24)
    book_over(ann, concert("Over"), 7 / 24)
    page = as_ann.get("/bookings/")
    assert (listed(page, "upcoming"), listed(page, "past")) == (["Now"], ["Over"])


def test_every_booking_is_in_exactly_one_section(ann, book, book_over, take_hold, concert):
    now = timezone.now()
    book(ann, concert("a")), book_over(ann, concert("b"), 1), take_hold(ann, concert("c"))
    return_tickets(book(ann, concert("d"), 2), 1, key=uuid.uuid4(), now=now)
    for name in ("called off", "called off while it is paid"):
        tier = concert(name)
        (book if name == "called off" else take_hold)(ann, tier)
        call_off(tier.concert_id, by=None, now=now)
    still = concert("called off by hand")
    book(ann, still)
    Concert.objects.filter(pk=still.concert_id).update(status="CANCELLED")
    mine = Booking.objects.of(ann)
    sections = [mine.upcoming(now), mine.past(now), mine.ended()]
    assert [section.count() for section in sections] == [3, 1, 3]
    assert {each.pk for section in sections for each in section} == {each.pk for each in mine}


# --- In pages ---------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """So many bookings on a page, and on the first one of those that are over."""
    monkeypatch.setattr("bookings.my_bookings.PER_PAGE", 2)
    monkeypatch.setattr("bookings.my_bookings.AT_FIRST", 1)


@pytest.mark.usefixtures("few")
def test_each_section_has_pages_of_its_own(as_ann, ann, book, book_over, concert):
    at = timezone.now()
    for name, day in enumerate([1, 1, 1, 2, 2]):
        book(ann, concert(f"up {name}"))
        book_over(ann, concert(f"over {name}"), day)
        cancel(book(ann, concert(f"not {name}")), now=at)
    Concert.objects.filter(name__startswith="up").update(date=at + timedelta(days=1))
    first = as_ann.get("/bookings/")
    assert [len(page.rows) for _, page in first.context["pages"]] == [2, 1, 1]
    for name, expected in [("upcoming", "up"), ("past", "over"), ("ended", "not")]:
        seen, response = listed(first, name), first
        while query := {s.name: p for s, p in response.context["pages"]}[name].next_query:
            response = as_ann.get(f"/bookings/{query}")
            assert listed(response) == listed(response, name)  # of this section only
            seen += listed(response)
        assert sorted(seen) == [f"{expected} {number}" for number in range(5)]
    assert "All my bookings" in response.content.decode()


@pytest.mark.parametrize("query", ["?cursor=nonsense", "?show=all", "?show=past&cursor=W10"])
def test_an_address_that_no_page_links_to_is_not_there(as_ann, query):
    assert as_ann.get(f"/bookings/{query}").status_code == 404


@pytest.mark.parametrize("bookings", [1, 3])
def test_the_list_takes_seven_queries_and_a_booking_as_many(
    as_ann, ann, book, book_over, concert, django_assert_num_queries, bookings
):
    made = [book(ann, concert("Soon")) for _ in range(bookings)]
    for _ in range(bookings):
        book_over(ann, concert("Over"), 2)
        cancel(book(ann, concert("Cancelled")), now=timezone.now())
    with django_assert_num_queries(7):  # session, user, three sections, what is new, moves
        as_ann.get("/bookings/")
    page_of(as_ann, made[0])  # which makes its tickets, if the worker has not made them
    with django_assert_num_queries(7):  # session, user, booking, tickets, moves, mail, messages
        page_of(as_ann, made[0])


# --- Nothing there ----------------------------------------------------------------------------------


def test_no_bookings_yet_leads_to_the_concerts(as_ann):
    says = main_of(as_ann.get("/bookings/"))
    assert "You have no bookings yet. See the concerts" in says
    assert "coming concerts" not in says


def test_nothing_upcoming_says_what_to_do_and_shows_the_rest(as_ann, ann, book_over, concert):
    book_over(ann, concert("Over"), 2)
    page = as_ann.get("/bookings/")
    assert "You have no tickets for coming concerts. See the concerts" in main_of(page)
    assert "no bookings yet" not in main_of(page)
    assert listed(page) == ["Over"]


# --- What to know first -------------------------------------------------------------------------------


def test_a_concert_that_was_called_off_or_has_moved_is_told_once_and_on_top(
    as_ann, ann, bob, book, book_over, concert
):
    off, moved, over = concert("Stars"), concert("Band"), concert("Over")
    for tier in (off, moved):
        book(ann, tier), book(ann, tier)
    book_over(ann, over, 2)
    move(moved.concert, venue="Arena")
    for tier in (off, over, concert("Bob's")):
        call_off(tier.concert_id, by=None, now=timezone.now())
    page = as_ann.get("/bookings/")
    says = main_of(page)
    top = says.partition("Upcoming")[0]
    assert top.count("Stars on ") == top.count("has been called off.") == 1
    assert top.count("Band has moved. Your tickets remain valid.") == 1
    assert "It was at Town Hall , and is now at Arena ." in top
    assert says.count("Concert called off") == 3
    assert says.count("Confirmed Moved") == 2


def test_each_payment_that_waits_for_the_customer_is_told_on_top(as_ann, ann, tier, take_hold):
    for name in ("one", "two"):
        booking = take_hold(ann, tier)
        Booking.objects.filter(pk=booking.pk).update(
            outcome_unknown=True, action_url=f"https://pay.example/{name}"
        )
    move(tier.concert, venue="Arena")
    top = main_of(as_ann.get("/bookings/")).partition("Upcoming")[0]
    assert top.count("waits for your payment until") == 2
    assert top.count("has moved.") == 1
