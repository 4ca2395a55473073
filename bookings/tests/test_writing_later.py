"""A failover that is longer than a request can wait: what it could not write is written afterwards."""

import threading
from contextlib import nullcontext
from uuid import uuid4

import pytest
from django.db import OperationalError, connection

from bookings import commits, lanes, placing, writing_later
from bookings.audit import audit
from bookings.errors import RequestInProgress
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tests.racing import race
from bookings.tests.standby import superuser
from bookings.tests.wishing import wish
from bookings.tier_transaction import LockedTier, tier_transaction
from bookings.writing_later import leave_to_resolver
from chaos.proxy import COMMIT, SETTLE
from ticketbook.errors import Busy
from ticketbook.postgres import clock
from ticketbook.tests.running import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_modes")]

EVERYTHING = 100_000  # times


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(writing_later, "BETWEEN_TRIES", 0.1)


@pytest.fixture
def never(monkeypatch):
    """The control: nothing is written later."""
    monkeypatch.setattr(placing, "write_later", lambda write, *, until: None)
    monkeypatch.setattr(commits, "leave_to_resolver", lambda holds: None)


def state():
    return Booking.objects.values_list("status", "outcome_unknown").get()


def paid_while_the_database_was_away(proxy, ann, tier, book):
    """Returns the key."""
    key = uuid4()
    clock.ask()
    proxy.cut_at(SETTLE, EVERYTHING, answer_lost=False)
    assert book(ann, tier, key=key).status == "PENDING"
    proxy.cut_no_more()
    return key


def test_a_payment_that_could_not_be_written_is_written_when_the_database_is_back(
    proxy, ledger, ann, tier, book, soon
):
    key = paid_while_the_database_was_away(proxy, ann, tier, book)
    wait_until(lambda: state() == ("CONFIRMED", False))
    assert book(ann, tier, key=key).status == "CONFIRMED"
    assert len(list(ledger.kept())) == 1
    assert audit() == []


def test_a_decline_that_could_not_be_written_gives_its_tickets_back_once(
    proxy, ledger, ann, tier, book, left, soon
):
    ledger.mode("decline")
    key = paid_while_the_database_was_away(proxy, ann, tier, book)
    wait_until(lambda: state()[0] == "FAILED")
    assert book(ann, tier, key=key).failure_reason == "DECLINED"
    assert left(tier) == 100
    assert audit() == []


def test_a_mark_that_could_not_be_written_is_written_when_the_database_is_back(
    proxy, ledger, ann, tier, book, soon
):
    ledger.mode("lose_answer")
    key = paid_while_the_database_was_away(proxy, ann, tier, book)
    wait_until(lambda: state() == ("PENDING", True))
    assert book(ann, tier, key=key).status == "PENDING"  # which is answered 202


def test_it_is_written_once_while_everybody_else_asks_too(
    proxy, ledger, ann, tier, book, left, soon
):
    """The customer repeats the key, and the resolver comes, at the moment when it is written later."""
    key = paid_while_the_database_was_away(proxy, ann, tier, book)
    end = Booking.objects.get().hold_expires_at

    def meet(i):
        return resolve_expired(now=end) if i % 2 else book(ann, tier, key=key)

    met = race(meet, 8)
    assert set(met) <= {Booking, list, RequestInProgress}
    wait_until(lambda: state()[0] == "CONFIRMED")
    assert len(list(ledger.kept())) == 1
    assert left(tier) == 99
    assert audit() == []


def test_without_that_its_key_is_in_progress_until_the_hold_ends(
    proxy, ledger, ann, tier, book, never
):
    key = paid_while_the_database_was_away(proxy, ann, tier, book)
    with pytest.raises(RequestInProgress):
        book(ann, tier, key=key)
    assert resolve_expired(now=clock.ask()) == []
    hold = Booking.objects.get()
    assert [b.status for b in resolve_expired(now=hold.hold_expires_at)] == ["CONFIRMED"]


# --- Holds that nobody charges ----------------------------------------------------------------------------


def held_while_the_database_was_away(proxy, ann, tier, book, monkeypatch):
    """A hold whose COMMIT was lost for longer than its request could wait; returns its key."""
    key = uuid4()
    clock.ask()
    monkeypatch.setattr(commits, "LOOK_FOR", 0.3)
    proxy.cut_at(COMMIT, EVERYTHING, answer_lost=True)
    with pytest.raises((Busy, OperationalError)):
        book(ann, tier, key=key)
    proxy.cut_no_more()
    return key


def test_a_hold_that_was_lost_for_too_long_is_left_to_the_resolver(
    proxy, ledger, ann, tier, book, left, soon, monkeypatch
):
    key = held_while_the_database_was_away(proxy, ann, tier, book, monkeypatch)
    wait_until(lambda: state() == ("PENDING", True))
    assert (
        book(ann, tier, key=key).failure_reason == "EXPIRED"
    )  # so the tickets are for somebody else
    assert left(tier) == 100
    assert list(ledger.kept()) == []
    assert book(ann, tier).status == "CONFIRMED"
    assert audit() == []


def test_without_that_its_tickets_are_kept_until_the_hold_ends(
    proxy, ledger, ann, tier, book, never, monkeypatch
):
    key = held_while_the_database_was_away(proxy, ann, tier, book, monkeypatch)
    with pytest.raises(RequestInProgress):
        book(ann, tier, key=key)
    assert resolve_expired(now=clock.ask()) == []


@pytest.fixture
def in_the_balance(ann, tier):
    """A hold whose transaction is still open, as on a server that stands still before it reads COMMIT."""
    made, go_on = [], threading.Event()

    def hold():
        with tier_transaction(tier.pk) as locked:
            [answer], _ = locked.serve([wish(ann, tier)])
            made.append(answer.booking)
            go_on.wait(60)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    wait_until(lambda: made)

    def commit():
        go_on.set()
        holder.join()

    yield made, commit
    commit()


def test_a_hold_that_may_still_come_is_waited_for(in_the_balance, soon):
    holds, commit = in_the_balance
    leave_to_resolver(holds)
    with superuser() as db:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: db.execute(waiting).fetchone()[0])
    commit()
    wait_until(lambda: state() == ("PENDING", True))


def test_without_the_lock_it_is_missed(in_the_balance, monkeypatch):
    """The control."""
    holds, commit = in_the_balance
    monkeypatch.setattr(writing_later, "tier_transaction", lambda tier: nullcontext())
    writing_later._mark(holds)
    commit()
    assert state() == ("PENDING", False)


def test_a_hold_whose_request_lost_patience_is_left_to_the_resolver(
    ann, tier, book, soon, settings, monkeypatch
):
    settings.BOOKING_LANES = True
    gave_up, real = threading.Event(), LockedTier.serve

    def slowly(self, *args):
        served = real(self, *args)
        gave_up.wait(60)
        return served

    monkeypatch.setattr(LockedTier, "serve", slowly)
    monkeypatch.setattr(lanes, "PATIENCE", 0.2)
    with pytest.raises(Busy):
        book(ann, tier)
    gave_up.set()
    wait_until(lambda: Booking.objects.filter(outcome_unknown=True))
