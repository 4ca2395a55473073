"""The inbox of webhooks and its lane: each event once, whoever brings it at the same time."""

import asyncio

import psycopg
import pytest
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from bookings import booking_lanes, inbox
from bookings.booking_lanes import EVENTS, SHARED_THREADS
from bookings.gateways.base import Outcome
from bookings.inbox import Handled
from bookings.models import PaymentEvent
from bookings.tests.racing import Stepped, race
from bookings.tests.redirecting import NAME, arrived
from ticketbook import event_loop
from ticketbook.errors import Busy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_lane_left_behind", "page_ledger"),
]


@pytest.fixture
def booking(ann, tier, book):
    """A booking whose customer has to pay."""
    return book(ann, tier, 2)


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


def test_while_the_database_is_busy_each_event_is_sent_again(monkeypatch):
    """Then nothing is tried one by one, because each of them would wait for a lock in turn."""
    tries = []

    def wait_in_vain(items):
        tries.append(len(items))
        raise OperationalError("canceling statement") from psycopg.errors.LockNotAvailable()

    monkeypatch.setattr(booking_lanes, "_write_events", wait_in_vain)
    answers = served_together(arrived(1), arrived(2), arrived(3))
    assert [type(answer) for answer in answers] == [Busy] * 3
    assert tries == [3]
