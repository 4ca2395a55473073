"""Every confirmed booking gets one set of tickets and one mail, whoever comes first, and nobody else does."""

import uuid
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.audit import audit
from bookings.calling_off import finish
from bookings.cancelling import cancel, return_tickets
from bookings.models import BEFORE_TICKETS, Booking, Return
from bookings.refunding import give_money_back
from bookings.resolving import resolve_expired
from bookings.tests.racing import Stepped, race
from concerts.calling_off import call_off
from mail.models import Mail
from mail.outbox import post
from tickets import fulfilment
from tickets.errors import NotConfirmed
from tickets.fulfilment import fulfil, fulfil_waiting
from tickets.models import Ticket
from tickets.tasks import fulfil_bookings

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()


@pytest.fixture
def booking(ann, tier, book, every_payment_succeeds):
    """Four tickets at 10.00."""
    return book(ann, tier, 4)


def numbers(booking):
    return list(booking.tickets.order_by("number").values_list("number", flat=True))


def mails():
    return sorted(Mail.objects.values_list("kind", "about", "address"))


def told_tickets(*bookings):
    return sorted(("tickets", booking.pk, booking.user.email) for booking in bookings)


def of_tickets():
    return sorted(Mail.objects.filter(kind="tickets").values_list("kind", "about", "address"))


def work():
    return fulfil_waiting(now=timezone.now())


# --- The worker ---------------------------------------------------------------------------------


def test_a_sale_writes_nothing_and_the_worker_makes_tickets_and_one_mail(booking):
    assert (numbers(booking), mails(), booking.fulfilled_at) == ([], [], None)
    assert work() == 1

    booking.refresh_from_db()
    assert numbers(booking) == [1, 2, 3, 4]
    assert all(ticket.is_valid for ticket in booking.tickets.all())
    assert mails() == told_tickets(booking)
    assert booking.fulfilled_at is not None
    assert work() == 0
    assert audit() == []


def test_the_job_does_it(booking):
    fulfil_bookings(timestamp=0)
    assert numbers(booking) == [1, 2, 3, 4]


def test_many_bookings_take_as_many_statements_as_one(ann, tier, book, every_payment_succeeds):
    taken = []
    for count in (1, 12):
        for _ in range(count):
            book(ann, tier, 2)
        with counted_statements() as statements:
            assert work() == count
        taken.append(len(statements))
    assert taken[0] == taken[1]


@contextmanager
def counted_statements():
    seen = []
    with connection.execute_wrapper(lambda run, sql, *rest: (seen.append(sql), run(sql, *rest))[1]):
        yield seen


def test_the_oldest_are_served_first_and_a_run_takes_so_many(ann, tier, book, booking):
    others = [book(ann, tier) for _ in range(3)]
    assert fulfil_waiting(now=NOW, limit=3) == 3
    assert Booking.objects.get(fulfilled_at=None) == others[-1]


def test_two_workers_share_the_bookings(ann, tier, book, every_payment_succeeds):
    bookings = [book(ann, tier, 2) for _ in range(6)]
    first = Stepped(lambda: fulfil_waiting(now=NOW, limit=3), after="tickets_ticket")
    first.wait_until_reached()
    assert work() == 3  # those that the first one has not locked
    assert first.finish() == 3

    assert Ticket.objects.count() == 12
    assert mails() == told_tickets(*bookings)
    assert audit() == []


def test_a_worker_that_dies_in_the_middle_leaves_nothing_half_done(monkeypatch, booking):
    def die(*args, **kwargs):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(fulfilment.outbox, "post_all", die)  # when all else is written
        with pytest.raises(SystemExit):
            work()
    assert (numbers(booking), mails()) == ([], [])
    assert work() == 1
    assert numbers(booking) == [1, 2, 3, 4]


def test_a_code_that_exists_is_refused_and_the_next_run_makes_another(
    monkeypatch, caplog, booking, ann, tier, book
):
    work()
    taken = Ticket.objects.first().code
    other = book(ann, tier)
    with monkeypatch.context() as patch:
        patch.setattr(fulfilment, "new_code", lambda: taken)
        assert work() == 0
    assert f"The booking {other.pk} cannot be fulfilled" in caplog.text
    assert "ticket_code_unique" in caplog.text
    assert (numbers(other), mails()) == ([], told_tickets(booking))
    assert work() == 1
    assert numbers(other) == [1]


def test_a_booking_that_cannot_be_fulfilled_keeps_no_other_waiting(
    caplog, booking, ann, tier, book
):
    work()
    others = [book(ann, tier), book(ann, tier)]
    Booking.objects.filter(pk=booking.pk).update(fulfilled_at=None)  # though it has its tickets
    assert work() == 2
    assert [numbers(other) for other in others] == [[1], [1]]
    assert mails() == told_tickets(booking, *others)
    assert f"The booking {booking.pk} cannot be fulfilled" in caplog.text


# --- The customer who opens the booking before the worker came -------------------------------------


def test_a_customer_gets_them_at_once_and_the_mail_too(booking):
    assert [ticket.number for ticket in fulfil(booking, now=NOW)] == [1, 2, 3, 4]
    assert mails() == told_tickets(booking)
    assert work() == 0
    assert fulfil(booking, now=NOW) == list(booking.tickets.order_by("number"))


def test_a_customer_waits_for_the_worker_and_gets_the_same_tickets(booking):
    worker = Stepped(work, after="INSERT INTO tickets_ticket").wait_until_reached()
    customer = Stepped(lambda: fulfil(Booking.objects.get(pk=booking.pk), now=NOW))
    customer.wait_until_blocked_by(worker)
    assert worker.finish() == 1

    assert customer.finish() == list(booking.tickets.order_by("number"))
    assert numbers(booking) == [1, 2, 3, 4]
    assert mails() == told_tickets(booking)


def everybody_at_once(booking):
    def act(i):
        if i % 2:
            return fulfil_waiting(now=NOW)
        return fulfil(Booking.objects.get(pk=booking.pk), now=NOW)

    return race(act, 6)


def test_many_at_once_make_one_set(booking):
    assert set(everybody_at_once(booking)) == {int, list}
    assert numbers(booking) == [1, 2, 3, 4]
    assert mails() == told_tickets(booking)


def test_control_without_the_lock_the_constraint_stops_a_second_set(monkeypatch, booking):
    monkeypatch.setattr(fulfilment, "_locked", lambda bookings, **more: bookings)
    worker = Stepped(work, after="INSERT INTO tickets_ticket").wait_until_reached()
    customer = Stepped(lambda: fulfil(Booking.objects.get(pk=booking.pk), now=NOW))
    customer.wait_until_blocked_by(worker)  # for the index, when both have decided to make them
    worker.finish()
    refused = customer.finish()
    assert isinstance(refused, IntegrityError)
    assert refused.__cause__.diag.constraint_name == "ticket_booking_number_unique"


# --- Who gets none ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, 1])
def test_a_booking_that_is_not_confirmed_has_no_tickets(settings, ann, tier, book, take_hold, rate):
    settings.PAYMENT_SUCCESS_RATE = 0
    for other in (book(ann, tier), take_hold(ann, tier)):
        with pytest.raises(NotConfirmed):
            fulfil(other, now=NOW)
    assert work() == 0
    assert (Ticket.objects.count(), mails()) == (0, [])


def test_one_that_was_cancelled_before_gets_no_tickets_and_no_mail_of_them(booking):
    cancel(booking, now=timezone.now())
    assert work() == 0
    with pytest.raises(NotConfirmed):
        fulfil(booking, now=NOW)
    assert (numbers(booking), of_tickets()) == ([], [])
    assert audit() == []


def test_one_that_is_cancelled_while_its_customer_opens_it_has_none(booking):
    opened = Booking.objects.get(pk=booking.pk)
    cancel(booking, now=timezone.now())
    with pytest.raises(NotConfirmed):
        fulfil(opened, now=NOW)


def test_a_concert_that_was_called_off_before_gives_none(booking, staff):
    call_off(booking.ticket_tier.concert_id, by=staff, now=timezone.now())
    assert work() == 0
    assert (numbers(booking), of_tickets()) == ([], [])


@pytest.mark.parametrize("end", ["cancelled", "called off"])
def test_tickets_are_void_at_once_without_a_write_to_them(booking, staff, end):
    work()
    before = list(Ticket.objects.values())
    if end == "cancelled":
        cancel(booking, now=timezone.now())
    else:
        call_off(booking.ticket_tier.concert_id, by=staff, now=timezone.now())
        finish(now=timezone.now())

    assert {ticket.state for ticket in Ticket.objects.with_details()} == {"VOID"}
    assert list(Ticket.objects.values()) == before
    assert audit() == []


def test_goodwill_for_the_whole_price_leaves_the_tickets_valid(booking, staff):
    work()
    give_money_back(booking, booking.total_price, by=staff, note="sorry", now=timezone.now())
    assert {ticket.state for ticket in Ticket.objects.with_details()} == {"VALID"}


# --- Who is told that it failed after all ----------------------------------------------------------


@pytest.fixture
def unknown(ledger, ann, tier, book):
    """A booking whose customer was told that the outcome is not known yet."""
    ledger.mode("lose_request")
    booking = book(ann, tier, now=timezone.now() - timedelta(minutes=5))
    assert booking.outcome_unknown
    ledger.mode("approve")
    return booking


def test_a_customer_who_was_told_that_it_is_not_known_is_told_that_it_failed(unknown):
    assert work() == 0
    resolve_expired(now=timezone.now())
    unknown.refresh_from_db()
    assert (unknown.status, unknown.outcome_unknown) == ("FAILED", True)

    assert work() == 1
    assert mails() == [("declined", unknown.pk, unknown.user.email)]
    assert numbers(unknown) == []
    assert work() == 0
    assert audit() == []


def test_a_customer_who_was_told_at_once_gets_no_mail(ledger, ann, tier, book):
    ledger.mode("decline")
    assert book(ann, tier).status == "FAILED"
    assert work() == 0


def test_one_that_is_confirmed_after_all_gets_its_tickets(ledger, ann, tier, book):
    ledger.mode("lose_answer")
    booking = book(ann, tier, now=timezone.now() - timedelta(minutes=5))
    ledger.mode("approve")
    resolve_expired(now=timezone.now())
    assert work() == 1
    assert mails() == told_tickets(booking)


# --- Bookings from before there were tickets --------------------------------------------------------


def test_an_old_booking_gets_its_tickets_when_somebody_asks_and_no_mail(booking):
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    booking.refresh_from_db()
    assert work() == 0
    assert audit() == []

    assert len(fulfil(booking, now=NOW)) == 4
    assert mails() == []
    booking.refresh_from_db()
    assert booking.fulfilled_at > BEFORE_TICKETS
    assert audit() == []


# --- Some tickets were returned -----------------------------------------------------------------------


def states(booking):
    tickets = Ticket.objects.with_details().filter(booking=booking).order_by("number")
    return [(ticket.number, str(ticket.state)) for ticket in tickets]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("which", "kept"), [(None, [1, 2]), ({1, 3}, [2, 4])], ids=["the last ones", "named ones"]
)
def test_the_tickets_that_went_back_are_void_whenever_they_were_made(booking, when, which, kept):
    if when == "after":
        work()
    return_tickets(booking, 2, numbers=which, key=uuid.uuid4(), now=timezone.now())
    work()
    assert states(booking) == [(n, "VALID" if n in kept else "VOID") for n in (1, 2, 3, 4)]
    assert of_tickets() == told_tickets(booking)
    assert audit() == []


def test_a_return_that_meets_the_worker_waits_for_it(booking):
    worker = Stepped(work, after="INSERT INTO tickets_ticket").wait_until_reached()
    act = lambda: return_tickets(booking, 1, key=uuid.uuid4(), now=timezone.now())  # noqa: E731
    giving = Stepped(act).wait_until_blocked_by(worker)
    worker.finish()
    assert giving.finish() is False
    assert [state for _, state in states(booking)] == ["VALID"] * 3 + ["VOID"]
    assert audit() == []


# --- The audit ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda booking: booking.tickets.get(number=1).delete(),
        lambda booking: booking.tickets.all().delete(),
        lambda booking: booking.tickets.filter(number=2).update(returned_at=NOW),
        lambda booking: booking.tickets.filter(number=4).update(number=5),
        lambda booking: Booking.objects.filter(pk=booking.pk).update(
            status="FAILED", payment_status="FAILED", failure_reason="DECLINED"
        ),
    ],
    ids=["one is missing", "all are missing", "one is void", "a wrong number", "never confirmed"],
)
def test_the_audit_finds_tickets_that_do_not_fit_their_booking(booking, spoil):
    work()
    assert audit() == []
    spoil(booking)
    assert any(str(booking.pk) in sentence for sentence in audit())


@pytest.mark.parametrize(("named", "then", "kept"), [(True, 3, [1, 3]), (False, 1, [1, 2])])
def test_the_audit_finds_a_returned_ticket_that_was_made_valid_in_place_of_another(
    booking, named, then, kept
):
    work()
    return_tickets(booking, 1, numbers=[2] if named else None, key=uuid.uuid4(), now=NOW)
    return_tickets(booking, 1, key=uuid.uuid4(), now=NOW)  # the last one
    if not named:  # as returns of the version before
        Return.objects.update(numbers=[])
    assert audit() == []
    booking.tickets.filter(number=2 if named else 4).update(returned_at=None)
    booking.tickets.filter(number=then).update(returned_at=NOW)
    (sentence,) = audit()
    assert f"{booking.pk}," in sentence
    assert f"{kept}, but those that were not returned are {[1, 2] if named else [2, 4]}" in sentence


def test_another_customers_mail_is_not_held_up_by_one_that_was_posted_before(booking, book, tier):
    bob = UserFactory(email="bob@example.com")
    other = book(bob, tier)
    post(kind="tickets", about=booking.pk, to=booking.user.email)
    assert work() == 2
    assert mails() == told_tickets(booking, other)
