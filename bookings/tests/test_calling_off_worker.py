"""The worker is killed while it sends the refunds and mails of a concert that was called off.

`make chaos-drills DRILLS=called_off` does the same with 5,000 bookings and five kills.
"""

import time
from collections import Counter
from contextlib import suppress

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.exceptions import AlreadyEnqueued

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import BEFORE_TICKETS, Booking, Refund
from bookings.tasks import rescue_jobs
from concerts.calling_off import call_off
from mail.models import Mail
from mail.tests.smtp import MailServer
from ticketbook.postgres import clock
from ticketbook.tests.running import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_queue")]

BOOKINGS = 60
GATEWAY = "bookings.tests.gateway.HttpGateway"
SLOWLY = "refund.begins=delay 1"  # twenty at once, so that a kill comes in the middle


def let_time_pass():
    """As after half a minute: the dead worker has no heartbeat, and its claims have run out."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 h'")
    Mail.objects.waiting().update(next_attempt_at=clock.ask())
    with suppress(AlreadyEnqueued):  # by the worker, before it was killed
        rescue_jobs.defer(timestamp=0)


def sent():
    return Refund.objects.filter(status="SENT").count()


def test_every_booking_is_refunded_and_told_once_though_workers_are_killed(
    ledger, tier, book, staff, start_worker
):
    customers = [UserFactory() for _ in range(BOOKINGS)]
    bookings = [book(customer, tier) for customer in customers]
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    with MailServer() as server:
        server.data = lambda message: time.sleep(0.02)
        settings = {"PAYMENT_GATEWAY": GATEWAY, "EMAIL_URL": server.url, "EMAIL_SHARE": "1"}
        call_off(tier.concert_id, by=staff, note="ill", now=timezone.now())
        for in_the_middle in (lambda: sent() >= 10, lambda: len(server.ids) >= 15):
            worker = start_worker(**settings, FAILPOINTS=SLOWLY)
            wait_until(in_the_middle, limit=90)
            worker.kill()
            worker.wait()
            let_time_pass()
        start_worker(**settings)
        wait_until(lambda: sent() == BOOKINGS, limit=90)
        wait_until(lambda: not Mail.objects.exclude(status="SENT").exists(), limit=90)
        keys = {str(booking.pk) for booking in bookings}
        assert Counter(
            row[0] for row in ledger.query("SELECT charge FROM refund")
        ) == dict.fromkeys(keys, 1)
        assert ledger.kept() == {}
        assert set(server.ids) == set(Mail.objects.values_list("message_id", flat=True))
        assert {str(mail.about) for mail in Mail.objects.all()} == keys
        assert len(server.ids) <= BOOKINGS + 2  # a copy for each kill at most
    assert set(Booking.objects.values_list("status", "payment_status")) == {
        ("CANCELLED", "REFUNDED")
    }
    assert all(booking.returns.count() == booking.refunds.count() == 1 for booking in bookings)
    assert audit() == []
