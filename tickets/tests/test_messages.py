"""Staff write to all who hold tickets: everybody once, whatever happens to workers and addresses."""

import json
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.closing import agreement, close, forget_addresses
from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import claiming, guests
from bookings.cancelling import cancel, return_tickets
from bookings.models import BEFORE_TICKETS, Booking
from bookings.tests.racing import Stepped, race
from bookings.tests.wishing import hold, wish
from concerts.calling_off import call_off
from concerts.tests.factories import TicketTierFactory
from mail.composing import compose
from mail.models import Mail
from mail.outbox import post
from mail.sending import send_due
from ticketbook.postgres import clock
from ticketbook.tests.running import wait_until
from tickets import messages
from tickets.models import HolderMessage, Reached
from tickets.story import story_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def staff():
    return UserFactory(is_staff=True, email="staff@example.com", name="Sam")


@pytest.fixture
def send(staff):
    def send(tier, *, only_tier=False, subject="Doors open earlier", text="At six.\n\nBe there."):
        message = messages.draft(
            concert=tier.concert,
            tier=tier if only_tier else None,
            subject=subject,
            text=text,
            by=staff,
            now=clock.ask(),
        )
        messages.send(message)
        return message

    return send


@pytest.fixture
def by_guest(book):
    def by_guest(tier, email="gus@example.com", name="Gus"):
        key = uuid.uuid4()
        return book(guests.enter(email=email, name=name, key=key), tier, key=key)

    return by_guest


@pytest.fixture
def vip(tier):
    return TicketTierFactory(concert=tier.concert, tier_type="VIP")


def write_all():
    while messages.write_some(now=clock.ask()):
        pass


def told():
    return sorted(Mail.objects.filter(kind="message").values_list("address", flat=True))


def text_to(address):
    return compose(Mail.objects.get(kind="message", address=address)).body


def says(booking):
    booking = Booking.objects.with_details().get(pk=booking.pk)
    return [event.says for event in story_of(booking)]


# --- Who gets it --------------------------------------------------------------------------------


def test_everybody_with_tickets_gets_one_mail_guests_too(ann, tier, vip, book, by_guest, send):
    book(ann, tier)
    book(ann, vip)
    by_guest(tier)
    message = send(tier)
    assert message.people == 2
    write_all()
    assert told() == [ann.email, "gus@example.com"]
    message.refresh_from_db()
    assert (message.people, message.written_at is None) == (2, False)
    assert Reached.objects.count() == 3


def test_a_message_to_a_tier_is_for_its_holders_only(ann, tier, vip, book, by_guest, send):
    book(ann, tier)
    by_guest(vip)
    assert send(vip, only_tier=True).people == 1
    write_all()
    assert told() == ["gus@example.com"]


def test_a_guest_and_an_account_with_one_address_are_one_person(ann, tier, book, by_guest, send):
    book(ann, tier)
    by_guest(tier, ann.email)
    assert send(tier).people == 1
    write_all()
    assert told() == [ann.email]


def test_who_holds_no_ticket_is_not_told(ann, tier, vip, book, by_guest, send):
    hold(wish(ann, tier))
    other = TicketTierFactory()
    book(ann, other)
    cancel(by_guest(tier, "gone@example.com"), now=timezone.now())
    with pytest.raises(messages.NobodyHoldsTickets):
        send(tier)
    by_guest(tier)
    assert send(tier).people == 1
    write_all()
    assert told() == ["gus@example.com"]


def test_who_has_given_some_back_is_still_told(ann, tier, book, send):
    booking = book(ann, tier, 3)
    return_tickets(booking, 2, key=uuid.uuid4(), now=timezone.now())
    send(tier)
    write_all()
    assert told() == [ann.email]
    assert "At six." in text_to(ann.email)


def test_who_books_after_it_was_sent_is_not_told(ann, tier, book, by_guest, send):
    book(ann, tier)
    send(tier)
    by_guest(tier)
    write_all()
    assert told() == [ann.email]


def test_who_gives_all_back_before_the_mail_leaves_is_not_told(ann, tier, book, by_guest, send):
    booking, kept = book(ann, tier), by_guest(tier)
    send(tier)
    write_all()
    cancel(booking, now=timezone.now())
    while send_due(now=clock.ask() + timedelta(hours=1)):
        pass
    status = dict(Mail.objects.filter(kind="message").values_list("address", "status"))
    assert status == {ann.email: "SKIPPED", "gus@example.com": "SENT"}
    assert not any("wrote" in each for each in says(booking))
    assert "We wrote to you: Doors open earlier" in says(kept)


def test_nobody_is_told_about_a_concert_that_was_called_off_meanwhile(ann, tier, book, send):
    book(ann, tier)
    send(tier)
    write_all()
    call_off(tier.concert_id, by=None, now=timezone.now())
    assert compose(Mail.objects.get(kind="message")) is None


# --- Once ---------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(messages, "AT_ONCE", 2)


def test_it_is_written_in_batches_and_each_goes_on_where_the_last_one_ended(
    tier, by_guest, send, small_batches
):
    for n in range(5):
        by_guest(tier, f"{n}@example.com")
    message = send(tier)
    found = []
    while messages.write_some(now=clock.ask()):
        found.append(len(told()))
    assert found == [2, 4, 5]
    message.refresh_from_db()
    assert message.written_at
    assert not messages.write_some(now=clock.ask())


def test_a_change_of_address_in_the_middle_brings_no_second_mail(
    ann, tier, book, by_guest, send, small_batches
):
    before = ann.email
    book(ann, tier)
    by_guest(tier)
    later = book(ann, tier)
    send(tier)
    messages.write_some(now=clock.ask())
    User.objects.filter(pk=ann.pk).update(email="new@example.com")
    write_all()
    assert told() == sorted([before, "gus@example.com"])
    assert "Doors open earlier" in says(later)[-1]


def test_a_move_to_an_account_in_the_middle_brings_no_second_mail(
    ann, tier, by_guest, send, small_batches
):
    for _ in range(3):
        by_guest(tier, ann.email, "Ann")
    send(tier)
    messages.write_some(now=clock.ask())
    guest = User.objects.guests().get()
    claiming.claim(guest, ann)
    write_all()
    assert told() == [ann.email]
    assert Reached.objects.count() == 3
    for booking in Booking.objects.all():
        assert "Doors open earlier" in says(booking)[-1]


def test_no_more_wait_than_leave_soon(tier, by_guest, send, small_batches, monkeypatch):
    # So the mails with tickets of others do not stand behind all of them.
    monkeypatch.setattr(messages, "MOST_WAITING", 2)
    for n in range(5):
        by_guest(tier, f"{n}@example.com")
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    send(tier)
    write_all()
    assert len(told()) == 2
    while send_due(now=clock.ask()):
        write_all()
    assert len(told()) == 5


@pytest.mark.django_db(transaction=True)
def test_eight_workers_write_nobody_twice(tier, by_guest, send, small_batches):
    for n in range(12):
        by_guest(tier, f"{n}@example.com")
    message = send(tier)
    race(lambda i: write_all(), 8)
    message.refresh_from_db()
    assert (message.people, len(told()), Reached.objects.count()) == (12, 12, 12)


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_of_the_message_two_workers_meet(tier, by_guest, send, request):
    request.addfinalizer(Stepped.release_all)
    by_guest(tier)
    message = send(tier)
    holders = [(each.pk, each.user_id, "gus@example.com") for each in message.holders()]

    def write():
        with transaction.atomic():
            messages.write_batch(message, holders)

    first = Stepped(write, after="INSERT INTO mail_mail").wait_until_reached()
    second = Stepped(write).wait_until_blocked_by(first)
    first.finish()
    assert isinstance(second.finish(), IntegrityError)
    assert told() == ["gus@example.com"], "the keys hold what the lock is for"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_in_the_middle_leaves_nothing_half_done(
    tier, by_guest, send, start_worker
):
    made = [by_guest(tier, f"{n}@example.com") for n in range(3)]
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    message = send(tier)
    with transaction.atomic():  # the worker waits for this mail in the middle of its batch
        key = f"message:{message.pk}:{made[1].pk}"
        post(kind="message", about=message.pk, to="else@example.com", key=key)
        worker = start_worker(EMAIL_URL="")
        wait_until(somebody_waits_for_us)
        worker.kill()
        worker.wait()
        transaction.set_rollback(True)
    assert not Mail.objects.exists()
    assert not Reached.objects.exists()
    both = [start_worker(EMAIL_URL=""), start_worker(EMAIL_URL="")]
    wait_until(lambda: Mail.objects.filter(status="SENT").count() == 3)
    assert told() == ["0@example.com", "1@example.com", "2@example.com"]
    assert [worker.poll() for worker in both] == [None, None]


def somebody_waits_for_us():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return cursor.fetchone()[0]


# --- The mail -----------------------------------------------------------------------------------


def test_the_mail_has_the_words_the_booking_and_its_link(ann, tier, book, send):
    booking = book(ann, tier, 2)
    send(tier)
    write_all()
    message = compose(Mail.objects.get(kind="message"))
    html = message.alternatives[0][0]
    assert message.subject == "Doors open earlier"
    for said in ("At six.", "Be there.", "Hello", "Ann", tier.concert.name, str(booking.pk)):
        assert said in message.body
        assert said in html
    assert f"/bookings/{booking.pk}/" in message.body
    assert "because you have tickets for this concert" in message.body


def test_a_guest_s_link_opens_the_booking_and_goes_to_its_guest_only(client, tier, by_guest, send):
    booking = by_guest(tier)
    send(tier)
    write_all()
    [link] = [line for line in text_to("gus@example.com").splitlines() if "/b/" in line or
              "/bookings/" in line]  # fmt: skip
    page = client.get(link.removeprefix("http://127.0.0.1:8000"), follow=True)
    assert str(booking.pk) in page.content.decode()
    # Staff have found that the address was somebody else's, before the mail has left.
    User.objects.filter(pk=booking.user_id).update(email="right@example.com")
    assert compose(Mail.objects.get(kind="message")) is None


def test_several_bookings_are_all_in_the_one_mail(ann, tier, vip, book, send):
    made = [book(ann, tier), book(ann, vip)]
    send(tier)
    write_all()
    for booking in made:
        assert f"/bookings/{booking.pk}/" in text_to(ann.email)


@pytest.mark.parametrize(
    "words", ["{{ settings.SECRET_KEY }}{% now 'Y' %}", "<b>Ann</b> & {# no #}", "%s %(x)s {0}"]
)
def test_words_are_never_run_and_never_markup(ann, tier, book, send, words):
    book(ann, tier)
    send(tier, subject=words, text=words)
    write_all()
    message = compose(Mail.objects.get(kind="message"))
    assert message.subject == words
    assert message.body.count(words) == 2
    assert "<b>" not in message.alternatives[0][0]
    assert "SECRET_KEY }}" in message.body or "SECRET_KEY" not in words


# --- What is kept -------------------------------------------------------------------------------


def test_it_is_in_the_story_of_each_booking(ann, tier, vip, book, send):
    made = [book(ann, tier), book(ann, vip)]
    send(tier)
    write_all()
    for booking in made:
        assert (
            says(booking)[-1] == "We write to you, and the mail is on the way: Doors open earlier"
        )
        [reached] = messages.written_about(booking)
        assert reached.message.made_by.name == "Sam"
    Mail.objects.update(status="SENT", sent_at=timezone.now())
    assert says(made[0])[-1] == "We wrote to you: Doors open earlier"
    Mail.objects.update(status="FAILED", sent_at=None, last_error="550 no such user")
    assert "could not be delivered" in says(made[0])[-1]
    Mail.objects.all().delete()  # as mail/tasks.py does in the end
    assert not any("Doors" in each for each in says(made[0]))


def test_the_download_has_what_was_written(client, ann, tier, book, send):
    booking = book(ann, tier)
    message = send(tier)
    write_all()
    client.force_login(ann)
    [written] = json.loads(client.get("/accounts/data.json").content)["messages"]
    assert written.pop("writtenAt")
    assert written == {
        "bookingId": str(booking.pk),
        "subject": message.subject,
        "text": message.text,
    }


def test_closing_an_account_leaves_no_address_and_it_is_not_counted_any_more(
    ann, tier, book, by_guest, send
):
    address = ann.email
    book(ann, tier)
    Booking.objects.update(fulfilled_at=BEFORE_TICKETS)
    by_guest(tier)
    send(tier)
    write_all()
    close(ann, agreed=agreement(ann))
    assert "Closed account" not in text_to(address)
    Mail.objects.update(status="SENT", sent_at=timezone.now())
    forget_addresses()
    assert not Mail.objects.filter(address=address).exists()
    assert send(tier).people == 1


def test_a_test_goes_to_whoever_writes_it_and_to_nobody_else(ann, staff, tier, book):
    book(ann, tier)
    draft = messages.draft(
        concert=tier.concert, tier=None, subject="Doors", text="At six.", by=staff, now=clock.ask()
    )
    messages.send_test(draft)
    write_all()
    mail = compose(Mail.objects.get(kind="message"))
    assert (mail.to, mail.subject) == (["staff@example.com"], "Test: Doors")
    assert "Sam" in mail.body
    assert not Reached.objects.exists()
    assert HolderMessage.objects.get().is_test
