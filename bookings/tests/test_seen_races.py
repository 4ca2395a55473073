"""A price is raised while buyers send their forms: nobody is charged for what the form did not show."""

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.models import Booking
from bookings.seen import Seen
from bookings.tests.pages import form_of, post
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("both_modes", "every_payment_succeeds"),
]

BUYERS = 16


@pytest.fixture
def buyers():
    """Sixteen browsers, each logged in as a customer of its own."""
    clients = [Client() for _ in range(BUYERS)]
    for client in clients:
        client.force_login(UserFactory())
    return clients


def wait_for_blocked_holds():
    deadline = time.monotonic() + 20
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # kept until a transaction ends
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    raise AssertionError("no hold has come to the lock")


def send_while_it_changes(buyers, tier, change):
    """All send their forms while staff change something, which is committed only when holds wait for it."""
    forms = [(client, form_of(client, tier, 1)) for client in buyers]
    with ThreadPoolExecutor(BUYERS) as pool:
        with transaction.atomic():
            TicketTier.objects.select_for_update().get(pk=tier.pk)
            change()
            sent = [pool.submit(_post_and_close, client, fields) for client, fields in forms]
            wait_for_blocked_holds()
        return [job.result() for job in sent]


def _post_and_close(client, fields):
    try:
        return post(client, fields)
    finally:
        connections.close_all()


CHANGES = {
    "price": lambda tier: TicketTier.objects.filter(pk=tier.pk).update(price="12.00"),
    "venue": lambda tier: Concert.objects.filter(pk=tier.concert_id).update(venue="Arena"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_who_waits_for_the_lock_is_asked_about_what_changed_meanwhile(buyers, tier, left, kind):
    answers = send_while_it_changes(buyers, tier, lambda: CHANGES[kind](tier))
    assert {answer.status_code for answer in answers} == {409}
    assert all(b"went from" in answer.content for answer in answers)
    assert not Booking.objects.exists()
    assert left(tier) == 100


def test_without_the_look_under_the_lock_they_would_be_charged(buyers, tier, monkeypatch):
    # The control: the page looks when it draws the form, and nobody looks under the lock.
    monkeypatch.setattr(Seen, "is_still_so", lambda *args: True)
    answers = send_while_it_changes(buyers[:4], tier, lambda: CHANGES["price"](tier))
    assert {answer.status_code for answer in answers} == {303}
    assert set(Booking.objects.values_list("unit_price", flat=True)) == {12}


def test_among_many_changes_of_the_price_each_pays_what_the_form_showed(buyers, left):
    tier = TicketTierFactory(price="10.00", total_quantity=1000)
    shown = {}

    def buy(client):
        answers = []
        try:
            for _ in range(3):
                fields = form_of(client, tier, 1)
                price = Decimal(fields[f"seen_price_{tier.pk.hex}"])
                shown[fields["idempotency_key"]] = price
                answers.append(post(client, fields).status_code)
        finally:
            connections.close_all()
        return answers

    with ThreadPoolExecutor(BUYERS) as pool:
        jobs = [pool.submit(buy, client) for client in buyers]
        raised = 0
        while not all(job.done() for job in jobs) and raised < 10_000:
            raised += 1
            TicketTier.objects.filter(pk=tier.pk).update(price=10 + raised % 5)
            time.sleep(0.002)
        statuses = [status for job in jobs for status in job.result()]
    assert set(statuses) <= {303, 409}
    bookings = Booking.objects.all()
    assert statuses.count(303) == len(bookings)
    assert all(b.unit_price == shown[str(b.idempotency_key)] for b in bookings)
    assert left(tier) == 1000 - len(bookings)
    assert audit() == []
