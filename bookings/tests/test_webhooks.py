"""Webhooks inside this process: the inbox, the lane of events, and what is done about an event."""

import asyncio
import logging
import uuid
from datetime import timedelta

import pytest
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, events, events_api, inbox, outcomes
from bookings.booking_lanes import EVENTS, SHARED_THREADS
from bookings.events import handle_left_over, receive
from bookings.gateways.base import Event, Outcome
from bookings.inbox import Arrived, Handled
from bookings.models import Booking, PaymentEvent
from bookings.resolving import resolve_expired
from bookings.tasks import forget_events
from bookings.tests.racing import Stepped, race
from bookings.tests.redirecting import NAME, SIGNATURE, told
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


def arrived(number, key=None, **changes):
    names = {"id": f"evt_{number}", "type": "payment", "key": key, "claim": Outcome.SUCCEEDED}
    return Arrived(NAME, Event(**names | changes))


def served_together(*items):
    """Put these into the lane of events, so that one batch takes all of them; returns their answers."""

    async def ask_all():
        with SHARED_THREADS.mutex:  # so that no thread takes one before the last has come
            tasks = [asyncio.create_task(EVENTS.ask(item)) for item in items]
            while len(EVENTS.queue) < len(items):
                await asyncio.sleep(0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return event_loop.run(ask_all())


@pytest.fixture
def event_batches(monkeypatch):
    """How many items each transaction of the lane of events had."""
    sizes, real = [], booking_lanes._write_events

    def spy(items):
        sizes.append(len(items))
        return real(items)

    monkeypatch.setattr(booking_lanes, "_write_events", spy)
    return sizes


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


# --- The inbox and its lane -----------------------------------------------------------------------------


def test_duplicates_in_one_batch_are_one_row(booking, event_batches):
    same = [arrived(1, booking.pk) for _ in range(3)]
    noted = served_together(*same, arrived(2))
    assert event_batches == [4]
    assert [n.booking for n in noted] == [booking, booking, booking, None]
    assert not any(n.handled for n in noted)
    assert PaymentEvent.objects.count() == 2


def test_an_event_and_its_end_meet_in_one_batch(booking, event_batches):
    served_together(arrived(1, booking.pk))
    end = Handled(NAME, "evt_1", Outcome.SUCCEEDED, "", timezone.now())
    noted, done = served_together(arrived(1, booking.pk), end)
    assert event_batches == [1, 2]
    assert (noted.booking, done) == (booking, None)
    assert served_together(arrived(1, booking.pk))[0].handled


def test_one_event_that_cannot_be_written_spoils_nobody_elses(booking, event_batches):
    """PostgreSQL takes no NUL in a text, so the statement of the whole batch fails."""
    good, bad, other = served_together(arrived(1, booking.pk), arrived("\x00"), arrived(2))
    assert event_batches == [3, 1, 1, 1]  # all together, which fails, and then each alone
    assert (good.booking, other.booking) == (booking, None)
    assert isinstance(bad, (DataError, ValueError))
    assert set(PaymentEvent.objects.values_list("event_id", flat=True)) == {"evt_1", "evt_2"}


def test_without_lanes_each_event_has_a_batch_of_its_own(booking, event_batches, settings):
    settings.BOOKING_LANES = False
    assert len(served_together(arrived(1), arrived(2), arrived(3))) == 3
    assert event_batches == [1, 1, 1]


def test_two_deliveries_at_once_are_one_row_and_one_confirmation(booking, page_ledger):
    page_ledger.pay(booking.pk)
    body = told(booking.pk)
    assert race(lambda _: tell(body), 8) == {type(None): 8}
    assert status(booking) == "CONFIRMED"
    assert PaymentEvent.objects.count() == 1


def test_a_second_process_waits_for_the_first_and_finds_its_row():
    def first():
        with connection.cursor() as cursor, inbox.transaction.atomic():
            cursor.execute(
                "INSERT INTO bookings_paymentevent (gateway, event_id, type, claim, found)"
                " VALUES (%s, 'evt_1', 'payment', '', '')",
                [NAME],
            )

    holder = Stepped(first, after="INSERT INTO bookings_paymentevent").wait_until_reached()
    waiting = Stepped(lambda: inbox.note([arrived(1)])).wait_until_blocked_by(holder)
    holder.finish()
    assert [noted.handled for noted in waiting.finish()] == [False]
    assert PaymentEvent.objects.count() == 1


# So that PostgreSQL goes through the table by its index, as it does when there are many events.
BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"


@pytest.mark.parametrize("verb", [inbox.note, inbox.mark], ids=["note", "mark"])
def test_batches_with_the_same_events_in_opposite_order_stop_nobody(verb):
    """Two processes get the same events, and each has put them into a batch in its own order."""
    for number in range(10):
        batch = [arrived(f"{number} {i:03}") for i in range(200)]
        if verb is inbox.mark:
            inbox.note(batch)
            batch = [Handled(NAME, a.event.id, None, "", timezone.now()) for a in batch]

        def write(i, batch=batch):
            with connection.cursor() as cursor:
                cursor.execute(BY_INDEX)
            verb(batch if i % 2 else batch[::-1])

        assert race(write, 4) == {type(None): 4}
    assert PaymentEvent.objects.count() == 2000


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
