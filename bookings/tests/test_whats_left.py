"""What the page of a concert says about each tier: what is left, what is held, and what one may have."""

import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import guests, on_offer
from bookings.cancelling import cancel
from bookings.gateways.base import Outcome
from bookings.models import Booking
from bookings.settling import settle
from bookings.tests.pages import choice, drawn_key, form_of, post
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory, sell
from concerts.tests.visiting import page, soon

pytestmark = pytest.mark.django_db

ON_THE_PAGE = r"<span data-left-text>(.*?)</span>"


@pytest.fixture(autouse=True)
def every_payment_succeeds(settings):
    settings.PAYMENT_SUCCESS_RATE = 1


def texts(html):
    return [re.sub("<.*?>", "", text) for text in re.findall(ON_THE_PAGE, html)]


def said(client, tier):
    """What the page says of each tier; the part of it that is asked for again says the same."""
    at = f"/concerts/{tier.concert_id}/"
    on_the_page = texts(page(client, at))
    assert texts(page(client, f"{at}left/")) == on_the_page
    return on_the_page


def holds(take_hold, user, tier, quantity, ends):
    booking = take_hold(user, tier, quantity)
    Booking.objects.filter(pk=booking.pk).update(hold_expires_at=ends)
    return booking


def at_minute(hour, minute, second=0):
    tomorrow = timezone.now() + timedelta(days=1)
    return tomorrow.replace(hour=hour, minute=minute, second=second, microsecond=0)


@pytest.mark.parametrize(
    ("left", "words"),
    [(100, "100 left"), (11, "11 left"), (10, "Last 10"), (8, "Last 8"), (1, "Last one"), (0, "Sold out")],
)  # fmt: skip
def test_each_tier_says_exactly_what_is_left(client, left, words):
    tier = TicketTierFactory(tier_type=TicketTier.Type.VIP)
    other = TicketTierFactory(concert=tier.concert, price=50)
    sell(tier, 100 - left)
    sell(other, 50)
    assert said(client, tier) == [words, "50 left"]


def test_what_is_held_is_told_apart_from_what_is_sold(client, ann, bob, book, take_hold):
    tier = TicketTierFactory(total_quantity=8, concert__time_zone="Europe/Berlin")
    book(bob, tier, 2)
    holds(take_hold, ann, tier, 4, at_minute(20, 11, 20))
    holds(take_hold, ann, tier, 2, at_minute(20, 11, 59))
    [text] = said(client, tier)
    assert re.fullmatch(
        r"All held right now: up to 6 may come back by \d\d:12 \(Berlin time\)", text
    )


def test_of_several_holds_the_first_end_is_told(client, ann, take_hold):
    tier = TicketTierFactory(total_quantity=5)
    holds(take_hold, ann, tier, 4, at_minute(20, 11))
    holds(take_hold, ann, tier, 1, at_minute(20, 15))
    assert said(client, tier) == [
        "All held right now: up to 5 may come back, the first by 20:11 UTC"
    ]


def test_an_overdue_hold_may_end_at_any_moment(client, ann, take_hold):
    tier = TicketTierFactory(total_quantity=5)
    holds(take_hold, ann, tier, 5, soon(minutes=-2))
    assert said(client, tier) == ["All held right now: up to 5 may come back at any moment"]


def test_while_all_is_held_one_can_choose_another_kind_or_wait(client, ann, take_hold):
    tier = TicketTierFactory(total_quantity=2)
    holds(take_hold, ann, tier, 2, at_minute(20, 11))
    html = page(client, f"/concerts/{tier.concert_id}/")
    assert 'data-phase="held"' in html
    assert f'value="{tier.pk}" required disabled' in html
    assert 'name="idempotency_key"' in html


def test_holds_of_other_tiers_and_other_states_are_not_counted(client, ann, book, take_hold):
    tier = TicketTierFactory(total_quantity=2)
    other = TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, price=90)
    book(ann, tier, 2)
    take_hold(ann, other, 3)
    assert said(client, tier) == ["Sold out", "97 left"]


@pytest.mark.parametrize("path", ["", "left/"])
def test_what_is_held_is_asked_only_when_a_tier_has_nothing_left(
    client, ann, take_hold, path, django_assert_num_queries
):
    tiers = [
        TicketTierFactory(total_quantity=2),
        TicketTierFactory(total_quantity=2, tier_type=TicketTier.Type.VIP),
    ]
    TicketTier.objects.filter(pk=tiers[1].pk).update(concert=tiers[0].concert)
    at = f"/concerts/{tiers[0].concert_id}/{path}"
    with django_assert_num_queries(2):
        page(client, at)
    for tier in tiers:
        take_hold(ann, tier, 2)
    with django_assert_num_queries(3):
        page(client, at)
    Concert.objects.update(sales_close_at=soon(hours=-1))
    with django_assert_num_queries(2):
        page(client, at)


def test_the_question_what_is_held_is_served_by_an_index(ann, book, take_hold):
    tier = TicketTierFactory(total_quantity=300)
    for _ in range(30):
        book(ann, tier, 1)
    take_hold(ann, tier, 10)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL enable_seqscan = off"
        )  # a table of one page is rather read as a whole
    plan = on_offer._holds([tier]).explain()
    assert "booking_tier_status" in plan or "booking_pending_expiry" in plan


# --- The limit --------------------------------------------------------------------------------------


def limit_said(client, tier):
    found = re.search(
        r'<span class="tier-limit">(.*?)</span>', page(client, f"/concerts/{tier.concert_id}/")
    )
    return found and found[1]


def test_an_account_is_not_told_what_the_guest_of_its_address_has(client, ann, book):
    """Nobody has to show that an address is theirs to sign up with it."""
    tier = TicketTierFactory(max_per_customer=4)
    book(guests.enter(email=ann.email, name="Ann", key=uuid.uuid4()), tier, 2)
    client.force_login(ann)
    assert limit_said(client, tier) == "at most 4 for each customer"


def test_the_limit_is_told_before_it_bites(client, ann, book):
    tier = TicketTierFactory(max_per_customer=4)
    assert limit_said(client, tier) == "at most 4 for each customer"
    client.force_login(ann)
    assert limit_said(client, tier) == "at most 4 for each customer"
    book(ann, tier, 2)
    assert limit_said(client, tier) == "you have 2, so up to 2 more"
    book(ann, tier, 2)
    assert limit_said(client, tier) == "you have 4, and no customer gets more"
    html = page(client, f"/concerts/{tier.concert_id}/")
    assert f'value="{tier.pk}" required disabled' in html


def test_what_was_booked_with_the_same_address_as_a_guest_counts_and_is_not_told(client, ann, book):
    tier = TicketTierFactory(max_per_customer=4)
    client.force_login(ann)
    book(UserFactory(email=ann.email, is_guest=True), tier, 1)
    book(ann, tier, 2)
    assert limit_said(client, tier) == "you have 2, so up to 2 more"
    refused = post(client, choice(tier, 2))
    assert refused.status_code == 409
    said = "you have 2 of them. Whatever was booked with your e-mail address counts"
    assert said in refused.content.decode()


def test_cancelled_tickets_do_not_count_towards_the_limit(as_ann, ann, book):
    tier = TicketTierFactory(max_per_customer=4)
    cancel(book(ann, tier, 3), now=timezone.now())
    assert limit_said(as_ann, tier) == "at most 4 for each customer"


def test_a_tier_without_a_limit_speaks_of_none(as_ann, ann, tier, book):
    book(ann, tier, 2)
    assert limit_said(as_ann, tier) is None


def test_no_fees_is_said_once(client, tier):
    html = page(client, f"/concerts/{tier.concert_id}/")
    assert html.count("No fees: what you see is what you pay.") == 1


# --- Too early --------------------------------------------------------------------------------------


def test_a_form_that_comes_too_early_is_refused_and_nothing_is_lost(as_ann, tier):
    Concert.objects.update(sales_open_at=soon(hours=1))
    fields = form_of(as_ann, tier, 3)
    response = post(as_ann, fields)
    html = response.content.decode()
    assert response.status_code == 409
    assert "sales have not opened yet. Nothing was charged, and your choice is kept." in html
    assert f'value="{tier.pk}" required checked' in html
    assert 'value="3" required checked' in html
    assert drawn_key(response) == fields["idempotency_key"]
    Concert.objects.update(sales_open_at=soon(hours=-1))
    assert post(as_ann, fields).status_code == 303
    assert Booking.objects.get().quantity == 3


def test_a_stranger_who_is_too_early_keeps_the_choice(client, tier):
    Concert.objects.update(sales_open_at=soon(hours=1))
    response = post(client, choice(tier, 3))
    html = response.content.decode()
    assert response.status_code == 409
    assert "sales have not opened yet" in html
    assert 'value="3" required checked' in html


# --- The part that is asked for again ----------------------------------------------------------------


def test_it_stays_the_same_while_nothing_is_sold(client, tier, bob, book):
    at = f"/concerts/{tier.concert_id}/left/"
    first = client.get(at)
    assert client.get(at, headers={"If-None-Match": first["ETag"]}).status_code == 304
    book(bob, tier, 1)
    assert client.get(at, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_it_is_the_same_for_a_customer_with_a_limit(as_ann, client, ann, book):
    tier = TicketTierFactory(max_per_customer=4)
    book(ann, tier, 2)
    at = f"/concerts/{tier.concert_id}/left/"
    hers = as_ann.get(at).content
    client.logout()
    assert client.get(at).content == hers


def test_it_says_how_the_sale_stands(client, tier):
    def attributes():
        html = page(client, f"/concerts/{tier.concert_id}/left/")
        return re.search('data-phase="(.*?)"', html)[1], "data-has-form" in html

    assert attributes() == ("open", True)
    Concert.objects.update(sales_open_at=soon(hours=1))
    assert attributes() == ("later", True)
    Concert.objects.update(sales_open_at=None, sales_close_at=soon(hours=-1))
    assert attributes() == ("closed", False)
    Concert.objects.update(status=Concert.Status.CANCELLED)
    assert attributes() == ("called_off", False)
    Concert.objects.update(status=Concert.Status.DRAFT)
    page(client, f"/concerts/{tier.concert_id}/left/", status=404)


# --- The list of concerts -----------------------------------------------------------------------


def of_list(client):
    """What the list says of each concert, in its order."""
    html = client.get("/concerts/").content.decode()
    return [
        words_in(foot) for foot in re.findall(r'<p class="card-foot">(.*?)</p>', html, re.DOTALL)
    ]


def words_in(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_list_tells_tickets_that_are_held_from_sold_ones(client, ann, take_hold, book):
    held, sold, mixed = (
        TicketTierFactory(total_quantity=2, concert__date=soon(days=n)) for n in (1, 2, 3)
    )
    TicketTierFactory(concert=mixed.concert, tier_type=TicketTier.Type.VIP)
    hold = take_hold(ann, held, 2)
    book(ann, sold, 2)
    take_hold(ann, mixed, 2)
    first, second, third = of_list(client)
    assert first == "All held right now Some may come back."
    assert second == "Sold out"
    assert third.startswith("Available")
    settle(hold, Outcome.SUCCEEDED, now=timezone.now())
    assert of_list(client)[0] == "Sold out"


def test_the_list_asks_what_is_held_once_and_only_when_a_concert_has_nothing_left(
    client, ann, take_hold, django_assert_num_queries
):
    tiers = [TicketTierFactory(total_quantity=2) for _ in range(3)]
    with django_assert_num_queries(2):
        client.get("/concerts/")
    for tier in tiers:
        take_hold(ann, tier, 2)
    with django_assert_num_queries(3):
        client.get("/concerts/")
    Concert.objects.update(sales_close_at=soon(hours=-1))
    with django_assert_num_queries(2):
        client.get("/concerts/")


def test_a_refusal_does_not_call_held_tickets_sold_out(client, ann, bob, take_hold):
    tier = TicketTierFactory(total_quantity=2)
    take_hold(ann, tier, 2)
    client.force_login(bob)
    refused = client.post("/bookings/", choice(tier)).content.decode()
    assert (
        "The last ones are being bought now, and some may come back. Nothing was charged" in refused
    )
    assert "sold out" not in refused.lower()


def test_a_failed_booking_does_not_call_held_tickets_sold_out(client, ann, bob, take_hold):
    tier = TicketTierFactory(total_quantity=2)
    failed = settle(take_hold(bob, tier, 2), Outcome.DECLINED, now=timezone.now())
    take_hold(ann, tier, 2)
    client.force_login(bob)
    html = client.get(f"/bookings/{failed.pk}/").content.decode()
    assert "All held right now" in html
    assert "Others are paying for the last ones." in html
    assert "Sold out" not in html
