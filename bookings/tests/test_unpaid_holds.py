"""MAX_UNPAID_HOLDS: a customer may not keep more tickets from others than so many unpaid bookings."""

import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bookings import placing, tier_transaction
from bookings.audit import audit
from bookings.errors import TooManyUnpaid
from bookings.events import receive
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tests.api_client import problem
from bookings.tests.guest_pages import guest_form
from bookings.tests.pages import choice, post
from bookings.tests.racing import race
from bookings.tests.redirecting import NAME, SIGNATURE, told
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 3


@pytest.fixture(autouse=True)
def a_limit(settings, page_ledger):
    settings.MAX_UNPAID_HOLDS = LIMIT


@pytest.fixture
def fill(ann, tier, book):
    """Let Ann make as many unpaid bookings as she may; returns them."""
    return lambda **when: [book(ann, tier, **when) for _ in range(LIMIT)]


def unpaid(user):
    return Booking.objects.of(user).pending().count()


def tell(booking):
    event_loop.run(receive(NAME, told(booking.pk), SIGNATURE))


def test_one_more_is_refused_and_takes_no_ticket(fill, ann, tier, api, left, both_modes):
    fill()
    response = api.book(tier)
    assert problem(response) == (409, "customer_limit_reached")
    assert (response.json()["maxUnpaid"], response.json()["unpaid"]) == (LIMIT, LIMIT)
    assert left(tier) == 100 - LIMIT


def test_it_counts_the_bookings_of_all_concerts(fill, ann, book):
    fill()
    with pytest.raises(TooManyUnpaid):
        book(ann, TicketTierFactory())


def test_others_are_not_counted(fill, bob, tier, book):
    fill()
    assert book(bob, tier).status == "PENDING"


def test_the_same_request_again_is_not_refused(fill, ann, tier, book):
    key = uuid.uuid4()
    first = book(ann, tier, key=key)
    for _ in range(LIMIT - 1):
        book(ann, tier)
    assert book(ann, tier, key=key).pk == first.pk


def test_a_paid_one_frees_its_place(fill, ann, tier, book, page_ledger):
    first, *_ = fill()
    page_ledger.pay(first.pk)
    tell(first)
    assert book(ann, tier).status == "PENDING"
    with pytest.raises(TooManyUnpaid):
        book(ann, tier)


def test_a_declined_one_frees_its_place(fill, ann, tier, book, page_ledger):
    first, *_ = fill()
    page_ledger.decline(first.pk)
    tell(first)
    assert book(ann, tier).status == "PENDING"


def test_an_expired_one_frees_its_place(fill, ann, tier, book):
    fill(now=timezone.now() - timedelta(minutes=16))
    resolve_expired(now=timezone.now())
    assert book(ann, tier).status == "PENDING"
    assert unpaid(ann) == 1


def test_without_a_worker_the_request_itself_ends_what_is_over(
    fill, ann, tier, book, left, both_modes, page_ledger
):
    old = fill(now=timezone.now() - timedelta(minutes=16))
    page_ledger.pay(old[0].pk)  # this one was paid, and its webhook was lost
    assert book(ann, tier).status == "PENDING"
    states = Counter(Booking.objects.of(ann).values_list("status", flat=True))
    assert states == {"CONFIRMED": 1, "FAILED": LIMIT - 1, "PENDING": 1}
    assert left(tier) == 98
    assert audit() == []


def test_a_gateway_that_does_not_answer_frees_no_place(fill, ann, tier, book, page_ledger):
    fill(now=timezone.now() - timedelta(minutes=16))
    page_ledger.mode = "outage"
    with pytest.raises(TooManyUnpaid):
        book(ann, tier)


def test_zero_is_no_limit(ann, tier, book, settings):
    settings.MAX_UNPAID_HOLDS = 0
    for _ in range(LIMIT + 2):
        book(ann, tier)
    assert unpaid(ann) == LIMIT + 2


def test_a_charge_that_is_being_made_at_once_does_not_count(ann, tier, book, settings):
    """A gateway without a page answers in a moment, so a quick customer is not stopped."""
    settings.PAYMENT_DEFAULT, settings.PAYMENT_SUCCESS_RATE = "simulated", 1
    assert {book(ann, tier).status for _ in range(LIMIT + 2)} == {"CONFIRMED"}


# --- Races -----------------------------------------------------------------------------------------------


def test_many_requests_of_one_customer_at_once_get_no_more(ann, tier, book, left, both_modes):
    assert race(lambda _: book(ann, tier), 16) == {Booking: LIMIT, TooManyUnpaid: 16 - LIMIT}
    assert unpaid(ann) == LIMIT
    assert left(tier) == 100 - LIMIT


def test_control_counted_before_the_lock_the_limit_is_broken(
    ann, tier, book, settings, monkeypatch
):
    """Every request sees the bookings of the moment at which it came, and all of them get tickets."""
    settings.BOOKING_LANES = False

    class Before:
        def fetchall(self):
            return [(ann.pk, 0)]

    monkeypatch.setattr(tier_transaction, "_send_unpaid_holds", lambda wishes: Before())
    assert race(lambda _: book(ann, tier), 8) == {Booking: 8}
    assert unpaid(ann) > LIMIT


def test_requests_for_several_tiers_at_once_get_no_more(ann, book, both_modes):
    tiers = [TicketTierFactory() for _ in range(8)]
    assert race(lambda i: book(ann, tiers[i % 8]), 16) == {
        Booking: LIMIT,
        TooManyUnpaid: 16 - LIMIT,
    }
    assert unpaid(ann) == LIMIT


def test_control_without_the_customers_lock_several_tiers_break_the_limit(
    ann, book, count_together, monkeypatch
):
    """Each tier has a lock of its own, so the requests do not see each other's bookings."""
    monkeypatch.setattr(tier_transaction, "LOCK_CUSTOMERS", "SELECT %s::uuid[]")
    tiers = [TicketTierFactory() for _ in range(8)]
    count_together(8)
    assert race(lambda i: book(ann, tiers[i]), 8) == {Booking: 8}
    assert unpaid(ann) == 8


# --- Somebody else has typed the address -------------------------------------------------------


@pytest.mark.parametrize("limit", [None, LIMIT])
def test_an_owner_whose_limit_a_stranger_has_filled_is_told_when_it_ends(as_ann, ann, limit):
    """Each hold of the stranger may still be paid, so it has to count until it ends."""
    tier = TicketTierFactory(max_per_customer=limit)
    for _ in range(LIMIT):
        sent = post(Client(), guest_form(tier, 1, email=ann.email))
        assert sent.status_code == 303
    refused = post(as_ann, choice(tier, 1))
    html = refused.content.decode()
    assert refused.status_code == 409
    assert "What nobody pays for stops counting, as a rule within 15 minutes." in html
    assert "try again then" in html
    Booking.objects.update(hold_expires_at=timezone.now() - timedelta(seconds=1))
    placing._last_look.clear()  # the next one to be refused looks only after a second
    assert post(as_ann, choice(tier, 1)).status_code == 303
    assert Booking.objects.get(user=ann).status == "PENDING"
    assert audit() == []
