"""Guests and staff of a chaos run read pages. They know the sentences of today, and what these mean."""

from pathlib import Path

import pytest
from django.template.loader import render_to_string

from backoffice.verbs.sentences import BUSY, LOST
from backoffice.verbs.verb import CHANGED
from bookings.errors import (
    Changed,
    ChangedMeanwhile,
    CustomerLimitReached,
    InsufficientTickets,
    SalesClosed,
)
from bookings.forms import KEY_REUSED
from bookings.handing_over import NotHandedOver
from chaos import desk, guests
from chaos.history import GUEST, Attempt
from chaos.stage import Customer
from concerts.changing import CalledOffBefore
from concerts.publishing import NotPublished, PublishedBefore, WasBooked
from concerts.stock import CapacityBelowSold, NotEnoughFree, NotSoManyKeptBack

TIER = "01a219d7-3862-7a45-96e0-974b7a8eebe4"


def read_by_guest(text, status=409):
    attempt = Attempt(1, "guest-0", "book", {}, 0.0, status=status)
    request = {"tier": TIER, "quantity": 2, "max_total": "20.00"}
    guests._read_refusal(attempt, text, request)
    return attempt


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (InsufficientTickets(availableQuantity=3), "insufficient_tickets"),
        (InsufficientTickets(availableQuantity=0), "insufficient_tickets"),
        (CustomerLimitReached(maxPerCustomer=4), "customer_limit_reached"),
        (SalesClosed(), "sales_closed"),
        (Changed(price="11.00"), "changed"),
    ],
)
def test_a_guest_understands_why_a_form_was_refused(refusal, code):
    attempt = read_by_guest(render_to_string("bookings/_refusal.html", {"refusal": refusal}))
    assert attempt.code == code
    left = refusal.facts.get("availableQuantity")
    assert attempt.answer == ({} if left is None else {"availableQuantity": left})


def test_a_guest_understands_the_other_answers():
    assert read_by_guest(KEY_REUSED, 422).code == "idempotency_key_reused"
    assert read_by_guest("", 404).code == "not_found"
    price = f'<input type="hidden" name="seen_price_{TIER.replace("-", "")}" value="11.00">'
    assert read_by_guest(str(Changed()) + price).answer == {"price": "11.00"}


def test_a_guest_knows_the_heading_of_every_state_of_a_booking():
    story = Path("templates/bookings/_story.html").read_text()
    for heading in guests.STATUSES:
        assert heading in story
    page = "<h1>Your tickets are booked</h1><p>You returned 1 of 3 tickets.</p>"
    assert guests._booking_of(page, "b") == {
        "id": "b", "status": "CONFIRMED", "returnedQuantity": 1,
    }  # fmt: skip
    assert guests._booking_of("<h1>Your booking will be cancelled</h1>", "b") == {"bookingId": "b"}


def test_a_guest_is_somebody_else_than_the_account_with_the_same_address():
    ann = Customer("ann@example.com", "token")
    assert guests.identity(ann) == "ann@example.com"
    assert guests.identity(guests.guest_of(ann)) == f"{GUEST}ann@example.com"


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        (NotEnoughFree(available=3), "insufficient_tickets"),
        (NotSoManyKeptBack(kept_back=0), "not_kept_back"),
        (CapacityBelowSold(free=2), "capacity_below_sold"),
        (PublishedBefore(), "published_before"),
        (NotPublished(), "not_published"),
        (WasBooked(), "was_booked"),
        (CalledOffBefore(), "sales_closed"),
        (NotHandedOver(), "not_confirmed"),
        (ChangedMeanwhile(), "stale"),
        (CHANGED, "stale"),
        (BUSY, "busy"),
        (LOST, "lost"),
    ],
)
def test_staff_understand_why_nothing_was_done(sentence, code):
    assert desk._code_of(f'<p class="errornote">Nothing was done. {sentence} </p>') == code


def test_staff_know_a_sentence_that_they_do_not_understand():
    assert desk._code_of('<p class="errornote">It rains.</p>') == "unread: It rains."
