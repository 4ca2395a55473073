"""A COMMIT whose answer was lost: what became of it is asked, and never guessed."""

import threading

import pytest
from django.db import OperationalError, connection, transaction

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import booking_lanes, commits
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.commits import Attempts
from bookings.errors import RequestInProgress
from bookings.gateways.base import Outcome
from bookings.models import Booking, Refund
from bookings.settling import Settlement
from bookings.tests.leftovers import resolve_all
from bookings.tests.racing import race
from bookings.tests.standby import superuser, synchronous
from bookings.tests.wishing import wish
from chaos.proxy import COMMIT, SETTLE
from ticketbook.errors import Busy
from ticketbook.postgres import clock
from ticketbook.postgres.failures import CommitUnknown, is_busy
from ticketbook.tests.running import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("answer_lost", [True, False], ids=["done", "not done"])
def test_a_buyer_whose_commit_is_lost_has_one_booking(
    proxy, ledger, ann, tier, book, answer_lost, times
):
    clock.ask()
    proxy.cut_at(COMMIT, times, answer_lost=answer_lost)
    booking = book(ann, tier)
    assert booking.status == "CONFIRMED"
    assert proxy.cuts_made == times
    assert [str(booking.pk)] == [str(pk) for pk in Booking.objects.values_list("pk", flat=True)]
    assert list(ledger.kept()) == [str(booking.pk)]
    assert audit() == []


def test_without_the_look_their_hold_is_charged_by_nobody(
    proxy, ledger, ann, tier, book, monkeypatch
):
    """The control: so it was, and the key found a hold that was only waiting for its end."""
    monkeypatch.setattr(booking_lanes, "once_known", lambda attempt: attempt(Attempts()))
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    key = wish(ann, tier).idempotency_key
    with pytest.raises((Busy, OperationalError)):
        book(ann, tier, key=key)
    assert Booking.objects.get().status == "PENDING"
    with pytest.raises(RequestInProgress):
        book(ann, tier, key=key)
    assert list(ledger.kept()) == []


def test_a_crowd_whose_commit_is_lost_is_served_once_each(proxy, ledger, tier, book):
    buyers = UserFactory.create_batch(8)
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    assert race(lambda i: book(buyers[i], tier), 8) == {Booking: 8}
    assert Booking.objects.filter(status="CONFIRMED").count() == 8
    assert len(list(ledger.kept())) == 8
    assert audit() == []


def test_two_requests_with_one_key_whose_commit_is_lost_make_one_booking(
    proxy, ledger, ann, tier, book
):
    key = wish(ann, tier).idempotency_key
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    answers = race(lambda _: book(ann, tier, key=key), 4)
    assert answers[Booking] >= 1
    assert set(answers) <= {Booking, RequestInProgress}
    assert Booking.objects.get().status == "CONFIRMED"
    assert len(list(ledger.kept())) == 1


def test_a_settlement_whose_answer_is_lost_is_looked_up(proxy, ledger, ann, tier, book):
    proxy.cut_at(SETTLE, 1, answer_lost=True)
    assert book(ann, tier).status == "CONFIRMED"
    assert proxy.cuts_made == 1
    assert len(list(ledger.kept())) == 1
    assert audit() == []


def test_a_decline_whose_commit_is_lost_gives_its_tickets_back_once(
    proxy, ledger, ann, tier, left, take_hold
):
    booking = take_hold(ann, tier, 2)
    settlement = Settlement(booking, Outcome.DECLINED, clock.now())
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    with pytest.raises(CommitUnknown):
        booking_lanes.settle_alone(settlement)
    assert booking_lanes.settle_alone(settlement) is False  # it was written
    booking.refresh_from_db()
    assert (booking.status, left(tier)) == ("FAILED", 100)
    assert audit() == []


def test_a_cancellation_whose_commit_is_lost_can_be_sent_again(
    proxy, ledger, ann, tier, book, left
):
    booking = book(ann, tier, 2)
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    with pytest.raises(OperationalError) as caught:
        cancel(Booking.objects.get(pk=booking.pk), now=clock.now())
    assert is_busy(caught.value)
    proxy.cut_no_more()
    cancel(Booking.objects.get(pk=booking.pk), now=clock.now())
    assert Booking.objects.get().status == "CANCELLED"
    assert Refund.objects.count() == 1
    assert left(tier) == 100
    assert audit() == []


def test_a_database_that_stays_away_is_busy_and_the_hold_ends(
    proxy, ledger, ann, tier, book, left, monkeypatch
):
    monkeypatch.setattr(commits, "LOOK_FOR", 0.3)
    proxy.cut_at(COMMIT, 10_000, answer_lost=True)
    with pytest.raises((Busy, OperationalError)):
        book(ann, tier)
    proxy.cut_no_more()
    for hold in Booking.objects.pending():  # one at most, because all have one key
        resolve_all(now=hold.hold_expires_at)
    assert left(tier) == 100
    assert list(ledger.kept()) == []
    assert audit() == []


# --- A COMMIT that waits for the synchronous standby ------------------------------------------------------


def waiting_for_standby(server):
    found = server.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [pid for (pid,) in found.fetchall()]


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_wait_for_the_standby_that_is_cancelled_is_no_success(ledger, ann, tier, book, end):
    """PostgreSQL answers the COMMIT then as if all was well. The booking stands on this server only."""
    booking_lanes.stop()
    connection.close()
    booked = []
    buyer = threading.Thread(target=lambda: (booked.append(book(ann, tier)), connection.close()))
    with superuser() as server:
        with synchronous("nobody"):
            buyer.start()
            wait_until(lambda: waiting_for_standby(server))
            (pid,) = waiting_for_standby(server)
            server.execute(f"SELECT {end}(%s)", [pid])
            # The look-up waits for a standby too. Until there is one, nobody is told anything or charged.
            wait_until(
                lambda: set(waiting_for_standby(server)) - ({pid} if "term" in end else set())
            )
            assert (booked, list(ledger.kept())) == ([], [])
        buyer.join(30)
    assert [booking.status for booking in booked] == ["CONFIRMED"]
    assert Booking.objects.count() == 1
    assert audit() == []


def test_a_statement_outside_of_a_transaction_whose_wait_is_cancelled_is_no_success(ann):
    caught = []

    def rename():
        try:
            User.objects.filter(pk=ann.pk).update(name="Anna")
        except OperationalError as exc:
            caught.append(exc)
        finally:
            connection.close()

    with superuser() as server, synchronous("nobody"):
        writer = threading.Thread(target=rename)
        writer.start()
        wait_until(lambda: waiting_for_standby(server))
        server.execute("SELECT pg_cancel_backend(%s)", waiting_for_standby(server))
        writer.join(30)
    assert [is_busy(exc) for exc in caught] == [True]


def test_a_role_with_a_time_limit_for_statements_does_not_cancel_a_commit():
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
