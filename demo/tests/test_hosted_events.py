"""Webhooks over HTTP, good ones and bad ones. Those who may not know anything learn nothing."""

import json
import logging
import re
import time
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from bookings import events, payments
from bookings.events import handle_left_over
from bookings.gateways.base import Outcome
from bookings.models import Booking, PaymentEvent, Refund
from bookings.tests.site import at_once
from concerts.models import TicketTier
from demo.tests.hosted_site import EVENTS, event, signed
from demo.tests.test_hosted_flow import CONFIRMED, DECLINED, WAITING, becomes, state
from ticketbook import event_loop

pytestmark = pytest.mark.django_db(transaction=True)

WEEK = 7 * 24 * 3600
NOT_LEARNED = re.compile(r"booking|PENDING|CONFIRMED|signature|secret|Traceback", re.IGNORECASE)


@pytest.fixture
def waiting(site, ann, tier):
    """A booking that was paid, and nobody has told us so far."""
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        site.press(url, "pay")
        site.wire.wait_for(pk, "payment.succeeded")
    return pk


def rows():
    models = (Booking, TicketTier, Refund)
    return [sorted(model.objects.values_list(), key=str) for model in models]


def refused(site, body, headers, status):
    """Check that the site refuses this webhook, and that neither a row nor a secret goes with it."""
    before, events = rows(), PaymentEvent.objects.count()
    answered, text = site.tell(body, headers)
    assert answered == status, text
    assert not NOT_LEARNED.search(text)
    assert rows() == before
    assert PaymentEvent.objects.count() == events


def test_an_unsigned_event_is_refused(site, waiting):
    refused(site, event(waiting), {}, 400)


def test_a_forged_event_is_refused(site, waiting):
    body = event(waiting)
    refused(site, body, signed(body, secret="guessed"), 400)


def test_an_event_that_was_changed_by_a_byte_is_refused(site, waiting):
    body, headers = site.wire.wait_for(waiting, "payment.succeeded")
    for at in range(0, len(body), 7):
        refused(site, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], headers, 400)
    assert state(waiting) == WAITING
    assert site.tell(body, headers)[0] == 200  # and unchanged it is taken
    assert state(waiting) == CONFIRMED


@pytest.mark.parametrize("age", [WEEK, -WEEK], ids=["a week old", "from next week"])
def test_an_event_of_another_time_is_refused(site, waiting, age):
    body = event(waiting)
    refused(site, body, signed(body, at=int(time.time()) - age), 400)


def test_an_event_of_two_megabytes_is_refused(site, waiting):
    body = event(waiting, more="x" * 2_000_000)
    refused(site, body, signed(body), 413)
    body = event(waiting, more="x" * 4_000_000)
    refused(site, body, signed(body), 413)


def test_an_event_in_several_pieces_is_taken(site, waiting):
    body = event(waiting, more="x" * 200_000)
    assert site.tell(body) == (200, "{}")
    assert state(waiting) == CONFIRMED


def test_nonsense_is_refused_even_if_it_is_signed(site, waiting):
    for body in (b"", b"[]", b"{", b"\xff", event("7"), event(waiting, id=None)):
        refused(site, body, signed(body), 400)


@pytest.mark.parametrize(
    "gateway", ["simulated", "cash", "stripe", "nobody", "%2e%2e", "hosted%20"]
)
def test_a_gateway_that_sends_no_events_is_not_found(site, waiting, gateway):
    body, before = event(waiting), rows()
    status, text = site.tell(body, path=f"/payments/{gateway}/events")
    assert status == 404
    assert not NOT_LEARNED.search(text)
    assert rows() == before


def test_events_are_not_read(site):
    assert site.send("GET", EVENTS, None, {})[0] == 405


def test_an_event_of_another_type_is_noted_and_changes_nothing(site, waiting):
    before = rows()
    assert site.tell(event(waiting, "payment.refreshed")) == (200, "{}")
    assert rows() == before
    noted = PaymentEvent.objects.get()
    assert (noted.type, noted.claim, noted.found) == ("payment.refreshed", "", "")
    assert noted.handled_at


def test_an_event_of_nobody_looks_like_any_other(site, waiting):
    before = rows()
    assert site.tell(event(uuid.uuid4())) == (200, "{}")
    assert rows() == before
    assert PaymentEvent.objects.get().found == ""


def test_an_event_about_a_booking_of_another_gateway_changes_nothing(
    site, ann, tier, book, settings
):
    settings.PAYMENT_DEFAULT, settings.PAYMENT_OUTAGE = "simulated", True
    booking = book(ann, tier)
    before = rows()
    assert site.tell(event(booking.pk)) == (200, "{}")
    assert rows() == before
    assert state(booking.pk) == WAITING
    assert PaymentEvent.objects.get().found == ""


def test_an_event_that_comes_twice_counts_once(site, waiting):
    body = event(waiting)
    assert site.tell(body) == (200, "{}")
    after = rows()
    handled_at = PaymentEvent.objects.get().handled_at
    assert site.tell(body) == (200, "{}")
    assert rows() == after
    assert PaymentEvent.objects.get().handled_at == handled_at


def test_an_event_that_comes_eight_times_at_once_counts_once(site, waiting):
    body = event(waiting)
    assert at_once(lambda _: site.tell(body), 8) == [(200, "{}")] * 8
    assert state(waiting) == CONFIRMED
    assert PaymentEvent.objects.count() == 1


def test_the_gateway_rules_and_not_the_event(site, waiting):
    """The event says declined, and the customer has paid."""
    assert site.tell(event(waiting, "payment.declined")) == (200, "{}")
    assert state(waiting) == CONFIRMED
    noted = PaymentEvent.objects.get()
    assert (noted.claim, noted.found) == ("declined", "succeeded")
    assert noted.alert == (
        "The event says declined, but the gateway says succeeded. We followed the gateway."
    )


def test_a_disagreement_is_logged_as_an_error(site, waiting, caplog):
    body = event(waiting, "payment.declined")
    headers = {name.lower(): value for name, value in signed(body).items()}
    with caplog.at_level(logging.ERROR, "bookings.events"):
        event_loop.run(events.receive("hosted", body, headers))
    [line] = [r.getMessage() for r in caplog.records if r.name == "bookings.events"]
    assert waiting in line
    assert json.loads(body)["id"] in line
    assert "the gateway says succeeded" in line


def test_an_event_says_paid_and_nobody_has_paid(site, ann, tier):
    pk, _ = site.begin(ann, tier)
    assert site.tell(event(pk)) == (200, "{}")
    assert state(pk) == WAITING
    assert PaymentEvent.objects.get().alert


def test_an_event_that_nobody_answers_for_is_sent_again(site, waiting):
    body = event(waiting)
    with site.page_down():
        status, text = site.tell(body)
        assert status == 503
        assert not re.search("Traceback|secret", text)
        assert state(waiting) == WAITING
        assert PaymentEvent.objects.get().handled_at is None
    assert site.tell(body) == (200, "{}")
    assert state(waiting) == CONFIRMED
    assert PaymentEvent.objects.get().handled_at


def test_an_event_whose_handling_broke_off_is_handled_by_the_worker(site, waiting):
    with site.page_down():
        site.tell(event(waiting))
    now = timezone.now()
    handle_left_over(now=now)
    assert state(waiting) == WAITING  # it may still be at work
    handle_left_over(now=now + timedelta(seconds=61))
    assert state(waiting) == CONFIRMED
    assert PaymentEvent.objects.get().handled_at


def test_events_in_the_wrong_order_end_as_the_gateway_says(site, ann, tier):
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        site.press(url, "decline")
        site.wire.wait_for(pk, "payment.declined")
    assert site.tell(event(pk, "payment.succeeded"))[0] == 200
    assert site.tell(event(pk, "payment.declined"))[0] == 200
    assert state(pk) == DECLINED
    assert payments.look_up(Booking.objects.get(pk=pk)) is Outcome.DECLINED
    becomes(pk, DECLINED)
