"""The real worker and a mail server that misbehaves: every mail arrives, under one Message-ID."""

import time
import uuid
from functools import partial

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings.models import BEFORE_TICKETS, Booking
from bookings.tasks import refund_booking
from mail.models import Mail
from mail.outbox import Post, post, post_all
from mail.tests.smtp import MailServer
from ticketbook.postgres import clock
from ticketbook.tests.running import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_queue", "every_payment_succeeds"),
]


@pytest.fixture
def server():
    with MailServer() as server:
        yield server


@pytest.fixture
def start_worker(start_worker, server):
    return partial(start_worker, EMAIL_URL=server.url)


@pytest.fixture
def booking(ann, tier, book):
    """A booking that the worker writes no mail with tickets about."""
    booking = book(ann, tier)
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    return booking


def events(booking, number):
    return [
        Post(
            kind="called_off",
            about=booking.pk,
            to=booking.user.email,
            key=f"called_off:{uuid.uuid4()}",
        )
        for _ in range(number)
    ]


def let_claims_run_out():
    Mail.objects.waiting().update(next_attempt_at=clock.ask())


def test_a_worker_that_dies_before_its_note_sends_a_second_copy_with_the_same_message_id(
    server, start_worker, booking
):
    post_all(events(booking, 1))
    first = start_worker(FAILPOINTS="mail.accepted=kill@once")
    wait_until(lambda: first.poll() is not None)
    assert len(server.accepted) == 1
    assert Mail.objects.get().status == "WAITING"
    let_claims_run_out()
    start_worker(FAILPOINTS="mail.accepted=kill@once")
    wait_until(lambda: Mail.objects.get().status == "SENT")
    assert server.ids == [Mail.objects.get().message_id] * 2


def test_workers_that_are_killed_lose_no_mail_and_send_none_under_two_ids(
    server, start_worker, booking
):
    post_all(events(booking, 30))
    server.data = lambda message: time.sleep(0.02)
    for number in (8, 18):
        both = [start_worker(), start_worker()]
        wait_until(lambda number=number: len(server.accepted) >= number)
        for worker in both:
            worker.kill()
        let_claims_run_out()
    start_worker()
    wait_until(lambda: not Mail.objects.exclude(status="SENT").exists())
    assert set(server.ids) == set(Mail.objects.values_list("message_id", flat=True))
    assert 30 <= len(server.ids) <= 30 + 4  # a copy for each kill at most


def test_a_mail_leaves_soon_and_a_server_that_hangs_keeps_no_other_job_waiting(
    server, start_worker, booking
):
    worker = start_worker()
    post_all(events(booking, 1))
    wait_until(lambda: server.accepted)
    began = time.monotonic()
    post_all(events(booking, 1))
    wait_until(lambda: len(server.accepted) == 2)
    assert time.monotonic() - began < 3  # about a second, on a machine with nothing else to do

    server.hangs = 15
    post(kind="declined", about=booking.pk, to=booking.user.email)  # is skipped
    post_all(events(booking, 1))
    wait_until(lambda: server.connections >= 3)
    jobs = [refund_booking.defer(booking_id=str(booking.pk)) for _ in range(3)]
    wait_until(lambda: not ProcrastinateJob.objects.filter(pk__in=jobs).exists(), limit=5)
    assert Mail.objects.filter(status="WAITING").count() == 1
    assert worker.poll() is None
    assert Booking.objects.get().status == "CONFIRMED"
