"""Keeping a guest's bookings in an account."""

import re
import uuid
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.test import Client

from accounts import closing
from accounts.models import User
from accounts.new_password import LinkUsed
from accounts.tests.factories import UserFactory
from bookings import claiming, guests, links
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import CustomerLimitReached
from bookings.gateways.base import Outcome
from bookings.models import Booking, GuestSlip, Refund
from bookings.settling import settle
from bookings.tests.guest_pages import EMAIL, book_as_guest, guest_form, last_mail, path_in
from bookings.tests.pages import choice, drawn_key, post
from bookings.tests.racing import Stepped, race
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from ticketbook.postgres import clock

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]

PASSWORD = "correct horse"


def enter(key=None):
    return guests.enter(email=EMAIL, name="Gwen", key=key or uuid.uuid4())


def guest():
    return User.objects.guests().get()


@pytest.fixture
def account():
    return UserFactory(email=EMAIL)


def logged_in(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def link(client, tier):
    """The mailed link of a guest who has booked once, with `client`."""
    page = book_as_guest(client, tier)
    assert client.post(f"{page}keep/").url == page
    return path_in(last_mail(claiming.KEEP), "/bookings/keep/")


# --- The link -----------------------------------------------------------------------------------


def test_a_guest_signs_up_with_the_address_of_the_link_and_has_all_bookings(client, tier, link):
    book_as_guest(Client(), tier)
    html = client.get(link).content.decode()
    assert f'value="{EMAIL}"' in html
    assert "readonly" in html
    answer = client.post(link, {"name": "Gwen", "password": PASSWORD, "email": "eve@example.com"})
    assert (answer.status_code, answer.url) == (303, "/bookings/")
    assert {booking.user for booking in Booking.objects.select_related("user")} == {
        User.objects.accounts().get(email=EMAIL)
    }
    assert not User.objects.guests().exists()
    html = client.get("/bookings/").content.decode()
    assert "2 bookings are in your account now." in html
    assert audit() == []


def test_what_is_wrong_with_a_password_is_said_and_nothing_moves(client, link):
    answer = client.post(link, {"name": "Gwen", "password": "short"})
    assert "at least 8 characters" in answer.content.decode()
    assert not User.objects.accounts().exists()
    assert Booking.objects.get().user == guest()


def test_an_account_confirms_with_a_button(link, account):
    client = logged_in(account)
    assert "1 booking that was made with" in client.get(link).content.decode()
    assert Booking.objects.get().user == guest()
    assert client.post(link).url == "/bookings/"
    assert Booking.objects.get().user == account


def test_whoever_has_an_account_logs_in_first(link, account):
    for answer in (Client().get(link), Client().post(link, {"name": "G", "password": PASSWORD})):
        assert unquote(answer.url) == f"/accounts/login/?next={link}"
    assert Booking.objects.get().user == guest()


@pytest.mark.parametrize("exists", [True, False])
def test_somebody_else_gets_nothing(link, ann, exists):
    """Whether there is an account with that address or not."""
    if exists:
        UserFactory(email=EMAIL)
    for answer in (logged_in(ann).get(link), logged_in(ann).post(link, {"password": PASSWORD})):
        assert answer.status_code == 403
        assert EMAIL not in answer.content.decode()
    assert Booking.objects.get().user == guest()


def test_a_link_works_once(client, link, account):
    logged_in(account).post(link)
    for who in (client, logged_in(account)):
        assert who.get(link).status_code == who.post(link).status_code == 410
    book_as_guest(client, TicketTierFactory())  # another guest, with the same address
    assert client.get(link).status_code == 410


def test_a_link_is_dead_after_a_day(client, link, monkeypatch):
    now = clock.now() + timedelta(days=1, minutes=1)
    monkeypatch.setattr(clock, "now", lambda: now)
    assert client.get(link).status_code == 410


def test_a_link_that_was_changed_is_dead(client, link):
    assert client.get(f"{link[:-3]}/").status_code == 410
    slip = GuestSlip.objects.get()
    assert client.get(f"/bookings/keep/{links.part_of(slip)}/").status_code == 410


def test_asking_again_and_again_mails_one_link(client, link):
    page = f"/bookings/{Booking.objects.get().pk}/"
    for _ in range(3):
        assert b"is on its way" in client.post(f"{page}keep/", follow=True).content
    assert Mail.objects.filter(kind=claiming.KEEP).count() == 1


# --- Afterwards ---------------------------------------------------------------------------------


def test_the_mailed_link_and_the_browser_lead_to_log_in_afterwards(client, link, account):
    page = f"/bookings/{Booking.objects.get().pk}/"
    client.get(page)
    old = path_in(last_mail("tickets"), "/b/")
    logged_in(account).post(link)
    assert client.get(page).url == f"/accounts/login/?next={page}"
    assert Client().get(old, follow=True).redirect_chain[-1][0].startswith("/accounts/login/")
    assert logged_in(account).get(old, follow=True).status_code == 200


def test_the_form_sent_again_finds_its_booking_in_the_account(client, tier, account, left):
    key = uuid.uuid4()
    page = book_as_guest(client, tier, key=key)
    claiming.claim(guest(), account)
    assert book_as_guest(client, tier, key=key) == page
    assert Booking.objects.count() == 1
    assert left(tier) == 98
    # Another form of the same guest books anew.
    assert book_as_guest(client, tier) != page


def test_a_key_that_the_account_has_used_too_finds_both_bookings(tier, account):
    key, gwen, ann = uuid.uuid4(), Client(), logged_in(account)
    of_guest = book_as_guest(gwen, tier, key=key)
    of_account = post(ann, choice(tier, key=key)).url
    assert claiming.claim(guest(), account) == 1
    assert book_as_guest(gwen, tier, key=key) == of_guest
    assert post(ann, choice(tier, key=key)).url == of_account
    assert Booking.objects.of(account).count() == 2
    assert audit() == []


def test_the_limit_counts_what_has_moved(account, book):
    tier = TicketTierFactory(max_per_customer=4)
    book(enter(), tier, 3)
    claiming.claim(guest(), account)
    for customer in (account, enter()):
        with pytest.raises(CustomerLimitReached):
            book(customer, tier, 2)


def test_money_and_mails_follow_the_booking(client, link, account):
    booking = Booking.objects.get()
    client.get(f"/bookings/{booking.pk}/")  # its tickets, and a mail that waits
    logged_in(account).post(link)
    booking = Booking.objects.select_related("user").get()
    assert f"/bookings/{booking.pk}/" in last_mail("tickets")
    assert "/b/" not in last_mail("tickets")
    cancel(booking, now=clock.ask())
    assert Refund.objects.get().booking.user == account
    assert last_mail("cancelled")


def test_closing_the_account_forgets_the_name_that_a_guest_typed(link, account):
    logged_in(account).post(link)
    Booking.objects.update(fulfilled_at=clock.ask())
    closing.close(account, agreed=closing.agreement(account))
    assert not GuestSlip.objects.exists()


# --- Meanwhile ----------------------------------------------------------------------------------


def test_a_hold_that_is_settled_after_it_has_moved(tier, account, take_hold, left):
    """Also if it was read while it was a guest's, as a resolver does that then asks the gateway."""
    hold = take_hold(enter(), tier, 2)
    hold = Booking.objects.get(pk=hold.pk)
    claiming.claim(guest(), account)
    settle(hold, Outcome.NOT_FOUND, now=clock.ask())
    settle(hold, Outcome.SUCCEEDED, now=clock.ask())
    assert Mail.objects.get(kind="late_payment").address == EMAIL
    assert left(tier) == 100
    assert audit() == []


def test_two_at_once_with_the_link_move_the_bookings_once(tier, account, book):
    book(enter(), tier)
    who = guest()
    assert race(lambda _: claiming.claim(who, account), 4) == {int: 1, LinkUsed: 3}


def booking_again(tier, key):
    """What the guest's browser does when the form is sent once more."""
    client = Client()
    return lambda: post(client, guest_form(tier, key=key))


def test_a_form_that_is_sent_while_the_bookings_move_finds_its_booking(
    tier, account, left, both_modes
):
    """The guest is entered, then the bookings move, and then the tier is asked."""
    key = uuid.uuid4()
    page = book_as_guest(Client(), tier, key=key)
    again = Stepped(booking_again(tier, key), after="INSERT INTO bookings_guestslip")
    again.wait_until_reached()
    claiming.claim(guest(), account)
    assert again.finish().url == page
    assert Booking.objects.count() == 1
    assert left(tier) == 98


def test_control_if_the_guest_stays_the_form_books_twice(tier, account, monkeypatch, settings):
    settings.BOOKING_LANES = False
    monkeypatch.setattr(claiming, "GONE", "SELECT %s::uuid")
    key = uuid.uuid4()
    book_as_guest(Client(), tier, key=key)
    again = Stepped(booking_again(tier, key), after="INSERT INTO bookings_guestslip")
    again.wait_until_reached()
    claiming.claim(guest(), account)
    assert again.finish().status_code == 303
    assert Booking.objects.count() == 2


def test_a_new_booking_during_the_move_is_a_guests_again(tier, account, both_modes):
    """It came too late for this link, and nothing of it is lost."""
    book_as_guest(Client(), tier)
    new = Stepped(booking_again(tier, uuid.uuid4()), after="INSERT INTO bookings_guestslip")
    new.wait_until_reached()
    assert claiming.claim(guest(), account) == 1
    assert new.finish().status_code == 303
    assert {booking.user.is_guest for booking in Booking.objects.all()} == {True, False}
    assert audit() == []


def test_a_hold_that_commits_after_the_move_is_made_anew(tier, account, left, settings):
    settings.BOOKING_LANES = False
    book_as_guest(Client(), tier)
    new = Stepped(booking_again(tier, uuid.uuid4()), after="INSERT INTO bookings_booking")
    new.wait_until_reached()
    assert claiming.claim(guest(), account) == 1
    assert new.finish().status_code == 303
    assert guest().bookings.get().status == "CONFIRMED"
    assert left(tier) == 96
    assert audit() == []


def test_a_hold_that_commits_during_the_move_waits_for_it(tier, account, left, settings):
    settings.BOOKING_LANES = False
    book_as_guest(Client(), tier)
    who = guest()
    move = Stepped(lambda: claiming.claim(who, account), after="FOR UPDATE")
    move.wait_until_reached()
    new = Stepped(booking_again(tier, uuid.uuid4()))
    new.wait_until_blocked_by(move)
    assert move.finish() == 1
    assert new.finish().status_code == 303
    assert guest().bookings.get().status == "CONFIRMED"
    assert left(tier) == 96


# --- What the page says -------------------------------------------------------------------------


def test_another_choice_under_the_key_of_a_moved_booking_is_asked_about(tier, account):
    """As before the move: nobody is told that tickets were booked which were not."""
    gwen, key = Client(), uuid.uuid4()
    book_as_guest(gwen, tier, 2, key)
    claiming.claim(guest(), account)
    answer = post(gwen, guest_form(tier, 3, key))
    assert answer.status_code == 422
    assert "already made another booking from this page" in answer.content.decode()
    assert f'value="{EMAIL}"' in answer.content.decode()
    assert drawn_key(answer) != str(key)
    assert Booking.objects.count() == 1


def story_in(html):
    return re.search(r'<ol class="events">.*?</ol>', html, re.DOTALL)[0]


def test_a_booking_has_the_same_story_after_it_has_moved(client, link, account):
    page = f"/bookings/{Booking.objects.get().pk}/"
    long_ago = clock.ask() - timedelta(hours=3)
    Booking.objects.update(created_at=long_ago, updated_at=long_ago + timedelta(minutes=2))
    before = story_in(client.get(page).content.decode())
    claiming.claim(guest(), account)
    assert story_in(logged_in(account).get(page).content.decode()) == before


def test_an_account_that_changes_its_address_at_that_moment_is_told(link, account, monkeypatch):
    real = claiming.claim

    def change_first(*who):
        User.objects.filter(pk=account.pk).update(email="new@example.com")
        return real(*who)

    monkeypatch.setattr(claiming, "claim", change_first)
    assert logged_in(account).post(link).status_code == 403
    assert Booking.objects.get().user == guest()
