"""Webhooks inside this process: what is done about an event, and what if that breaks off."""

import asyncio
import logging
import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import events, events_api, inbox, outcomes
from bookings.events import handle_left_over, receive
from bookings.inbox import Handled
from bookings.models import Booking, PaymentEvent
from bookings.resolving import resolve_expired
from bookings.tasks import forget_events
from bookings.tests.racing import race
from bookings.tests.redirecting import NAME, SIGNATURE, arrived, told
from ticketbook import event_loop
from ticketbook.asgi import application
from ticketbook.errors import Busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_lane_left_behind", "page_ledger"),
]

PATH = f"/payments/{NAME}/events"


@pytest.fixture
def booking(ann, tier, book):
    """A booking whose customer has to pay."""
    return book(ann, tier, 2)


def tell(body, headers=SIGNATURE):
    event_loop.run(receive(NAME, body, headers))


def status(booking):
    booking.refresh_from_db()
    return booking.status


# --- The endpoint --------------------------------------------------------------------------------------


def test_a_booking_waits_for_its_customer_and_the_webhook_confirms_it(
    page_ledger, api, booking, monkeypatch, both_ways
):
    endpoint = events_api._on_the_loop(NAME)
    monkeypatch.setitem(application.endpoints, ("POST", PATH), endpoint)
    assert (booking.status, booking.action_url) == ("PENDING", f"https://pay.example/{booking.pk}")
    page_ledger.pay(booking.pk)
    body, client = told(booking.pk), type(api.client)()
    forged = client.post(PATH, body, content_type="application/json", headers={"X-Signature": "x"})
    assert (forged.status_code, forged.json()["code"]) == (400, "bad_event")
    assert status(booking) == "PENDING"
    for _ in range(2):
        headers = {"X-Signature": "good"}
        taken = client.post(PATH, body, content_type="application/json", headers=headers)
        assert (taken.status_code, taken.json()) == (200, {})
    assert status(booking) == "CONFIRMED"
    assert PaymentEvent.objects.count() == 1


def test_a_body_of_more_than_a_quarter_of_a_megabyte_is_not_even_read(booking, page_ledger):
    with pytest.raises(events.TooLarge):
        tell(told(booking.pk, more="x" * events.MAX_EVENT))
    assert page_ledger.calls["look_up"] == PaymentEvent.objects.count() == 0


def test_a_process_that_starts_complains_about_no_webhook(caplog):
    """It sends an empty one to itself, to learn the headers that Django adds to every answer."""
    with pytest.raises(events.NotOurEvent):
        tell(b"", {})
    assert not caplog.records
    with pytest.raises(events.NotOurEvent):
        tell(told(uuid.uuid4()), {})
    assert "forged" in caplog.text


@pytest.mark.parametrize("broken", ["settle", "look_up"])
def test_an_answer_that_cannot_be_written_is_not_a_200(booking, page_ledger, monkeypatch, broken):
    """Then the gateway sends the event again, and it is handled as if it were the first time."""
    page_ledger.pay(booking.pk)
    body = told(booking.pk)
    with pytest.MonkeyPatch.context() as patch:
        if broken == "settle":
            patch.setattr(outcomes, "settle_by", raising(OperationalError("gone")))
        else:
            page_ledger.mode = "outage"
        with pytest.raises((OperationalError, Busy)):
            tell(body)
    page_ledger.mode = "approve"
    assert (status(booking), PaymentEvent.objects.get().handled_at) == ("PENDING", None)
    tell(body)
    assert status(booking) == "CONFIRMED"
    assert PaymentEvent.objects.get().handled_at


def raising(error):
    async def fail(*args, **kwargs):
        raise error

    return fail


# --- What is done about an event ------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["succeeded", "declined", "cancelled"])
def test_the_gateway_rules_whatever_the_event_says(booking, page_ledger, caplog, claim):
    page_ledger.pay(booking.pk)
    with caplog.at_level(logging.ERROR, "bookings.events"):
        tell(told(booking.pk, claim))
    assert status(booking) == "CONFIRMED"
    noted = PaymentEvent.objects.get()
    assert (noted.claim, noted.found) == (claim, "succeeded")
    disagrees = claim != "succeeded"
    assert bool(noted.alert) == disagrees
    assert len(caplog.records) == disagrees


def test_one_attempt_that_failed_is_no_alert(booking, page_ledger, caplog):
    """The customer may try another card on the same page."""
    tell(told(booking.pk, "declined"))
    assert status(booking) == "PENDING"
    assert PaymentEvent.objects.get().alert == ""
    assert not caplog.records


def test_a_dispute_is_told_to_staff_and_changes_nothing(booking, page_ledger, caplog):
    tell(told(booking.pk, None, type="dispute", alert="Answer by Friday."))
    assert status(booking) == "PENDING"
    assert PaymentEvent.objects.get().alert == "Answer by Friday."
    assert "Answer by Friday." in caplog.text
    assert page_ledger.calls["look_up"] == 0


def test_money_for_tickets_that_are_gone_is_owed(booking, page_ledger, left, tier):
    resolve_expired(now=timezone.now() + timedelta(minutes=16))
    assert status(booking) == "FAILED"
    page_ledger.capture_late(booking.pk)
    body = told(booking.pk)
    for _ in range(2):
        tell(body)
    booking.refresh_from_db()
    assert (booking.payment_status, booking.refunded_total) == ("SUCCESS", booking.total_price)
    assert booking.refunds.count() == 1
    assert left(tier) == 100


def test_an_event_about_a_booking_that_has_failed_moves_no_ticket_again(
    booking, page_ledger, left, tier
):
    page_ledger.decline(booking.pk)
    for _ in range(3):
        tell(told(booking.pk, "declined"))
    assert status(booking) == "FAILED"
    assert left(tier) == 100


def test_two_deliveries_at_once_are_one_row_and_one_confirmation(booking, page_ledger):
    page_ledger.pay(booking.pk)
    body = told(booking.pk)
    assert race(lambda _: tell(body), 8) == {type(None): 8}
    assert status(booking) == "CONFIRMED"
    assert PaymentEvent.objects.count() == 1


# --- Events whose handling broke off --------------------------------------------------------------------


def broken_off(*bookings):
    """Events that were noted two minutes ago, in this order, and not handled."""
    for number, booking in enumerate(bookings):
        inbox.note([arrived(number, booking.pk)])
        PaymentEvent.objects.filter(event_id=f"evt_{number}").update(
            received_at=timezone.now() - timedelta(minutes=2, seconds=-number)
        )


def test_an_event_that_fails_does_not_stop_those_behind_it(ann, tier, book, page_ledger, caplog):
    bad, good = book(ann, tier), book(ann, tier)
    for booking in (bad, good):
        page_ledger.pay(booking.pk)
    broken_off(bad, good)
    real = events.ask_and_settle

    async def ask(booking, steps, *, now):
        if booking.pk == bad.pk:
            raise OperationalError("a bug")
        return await real(booking, steps, now=now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "ask_and_settle", ask)
        handle_left_over(now=timezone.now())
    assert (status(bad), status(good)) == ("PENDING", "CONFIRMED")
    assert "a bug" in caplog.text
    handle_left_over(now=timezone.now())
    assert status(bad) == "CONFIRMED"


def test_a_slow_gateway_delays_many_events_no_longer_than_one(ann, tier, book, settings):
    settings.PAYMENT_TIME_LIMIT_MS = 300
    broken_off(*(book(UserFactory(), tier) for _ in range(10)))

    async def slow(self, **_):
        await asyncio.sleep(30)

    began = timezone.now()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bookings.tests.redirecting.PageGateway.look_up", slow)
        handle_left_over(now=timezone.now())
    assert timezone.now() - began < timedelta(seconds=3)


def test_old_events_are_forgotten_but_not_those_for_staff(booking):
    inbox.note([arrived(1), arrived(2, alert="Answer by Friday."), arrived(3)])
    inbox.mark([Handled(NAME, "evt_1", None, "", timezone.now())])
    inbox.mark([Handled(NAME, "evt_2", None, "Answer by Friday.", timezone.now())])
    PaymentEvent.objects.update(received_at=timezone.now() - timedelta(days=32))
    forget_events(timestamp=0)
    left = set(PaymentEvent.objects.values_list("event_id", flat=True))
    assert left == {"evt_2", "evt_3"}  # and the third was never handled
    assert Booking.objects.count() == 1


def test_an_event_of_no_booking_is_handled_all_the_same():
    tell(told(uuid.uuid4()))
    assert PaymentEvent.objects.get().handled_at
