"""The download of one's data, and what closing an account does to bookings, tickets and mails."""

import json
import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from accounts import closing
from accounts.closing import NotAgreed, Unfinished, agreement, close, forget_addresses
from accounts.models import Session, User
from accounts.new_password import PasswordChangedMeanwhile
from accounts.tasks import forget_addresses as in_the_night
from bookings import guests
from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.models import Booking
from bookings.tests.wishing import hold, wish
from concerts.tests.factories import TicketTierFactory
from mail.composing import compose
from mail.models import Mail
from tickets.fulfilment import fulfil
from tickets.models import Ticket
from tickets.story import story_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

EMAIL, PASSWORD = "ann@example.com", "correct horse"


@pytest.fixture
def ann(client):
    user = User.objects.create_user(EMAIL, PASSWORD, name="Ann O’Neill")
    client.force_login(user)
    return user


@pytest.fixture
def booking(ann, tier, book):
    """Two tickets of a coming concert, made and mailed."""
    made = book(ann, tier, 2)
    fulfil(made, now=timezone.now())
    return made


def page(client):
    return client.get("/accounts/close/").content.decode()


def close_it(client, password=PASSWORD, **fields):
    return client.post("/accounts/close/", {"password": password, **fields})


def agreed(client):
    found = re.search(r'name="agreed" value="(\w+)"', page(client))
    return {"agreed": found[1]} if found else {}


# --- The download -------------------------------------------------------------------------------


def test_the_download_has_the_account_bookings_money_and_tickets(client, ann, booking):
    return_tickets(booking, 1, key=booking.idempotency_key, now=timezone.now())
    response = client.get("/accounts/data.json")
    assert response["Content-Disposition"] == 'attachment; filename="ticketbook.json"'
    assert response["Cache-Control"] == "no-store"
    data = json.loads(response.content)
    assert data["account"]["email"] == EMAIL
    assert [way["on"] for way in data["account"]["loggedInOn"]] == ["A browser"]
    [of_booking] = data["bookings"]
    [refund] = of_booking.pop("refunds")
    token = {"Authorization": f"Token {AuthToken.objects.create(ann)[1]}"}
    assert [of_booking] == client.get("/api/v1/bookings", headers=token).json()
    assert (refund["amount"], refund["tickets"]) == (of_booking["refundedTotal"], 1)
    of_tickets = client.get(f"/api/v1/bookings/{booking.pk}/tickets", headers=token).json()
    assert data["tickets"] == [{"bookingId": str(booking.pk), **each} for each in of_tickets]


def test_the_download_has_nothing_of_others(client, ann, booking):
    bob = Client()
    bob.force_login(User.objects.create_user("bob@example.com", PASSWORD, name="Bob"))
    data = bob.get("/accounts/data.json").json()
    assert (data["bookings"], data["tickets"]) == ([], [])
    assert Client().get("/accounts/data.json").status_code == 302


def test_a_download_takes_as_many_queries_for_many_bookings(
    client, ann, tier, book, django_assert_max_num_queries
):
    for _ in range(3):
        fulfil(book(ann, tier, 2), now=timezone.now())
    with django_assert_max_num_queries(9):
        client.get("/accounts/data.json")


# --- Closing ------------------------------------------------------------------------------------


def test_a_closed_account_leaves_the_books_and_no_name(client, ann, booking):
    ticket = Ticket.objects.first()
    Ticket.objects.filter(pk=ticket.pk).update(holder_name="Bob")
    LogEntry.objects.log_actions(ann.pk, [ann, booking], CHANGE, "Changed")
    AuthToken.objects.create(ann)
    elsewhere = Client()
    elsewhere.force_login(ann)
    before = Booking.objects.values("status", "total_price", "quantity").get()
    assert close_it(client, **agreed(client)).url == "/concerts/"
    after = User.objects.get(pk=ann.pk)
    assert after.email == f"{ann.pk}@closed.invalid"
    assert (after.name, after.is_active) == ("Closed account", False)
    assert not after.has_usable_password()
    assert not AuthToken.objects.exists()
    assert not Session.objects.filter(user=ann).exists()
    assert elsewhere.get("/accounts/").status_code == 302
    assert Booking.objects.values("status", "total_price", "quantity").get() == before
    assert Ticket.objects.get(pk=ticket.pk).holder_name == ""
    assert Ticket.objects.get(pk=ticket.pk).is_valid
    assert not LogEntry.objects.filter(object_repr__contains="ann").exists()
    assert audit() == []


def test_the_address_can_sign_up_again_and_sees_nothing_of_before(client, ann, booking):
    close_it(client, **agreed(client))
    new = Client()
    body = {"name": "Ann", "email": EMAIL, "password": PASSWORD}
    assert new.post("/accounts/signup/", body).status_code == 302
    assert new.get("/accounts/data.json").json()["bookings"] == []


def test_nobody_logs_in_to_a_closed_account(client, ann):
    close_it(client)
    for name in (EMAIL, f"{ann.pk}@closed.invalid"):
        assert (
            Client().post("/accounts/login/", {"username": name, "password": PASSWORD}).status_code
            == 200
        )


def test_the_password_is_needed(client, ann):
    assert close_it(client, "wrong").context["form"].errors["password"]
    assert User.objects.get().is_active


def test_tickets_of_coming_concerts_are_asked_about_first(client, ann, booking):
    html = page(client)
    assert "You have 2 tickets for coming concerts. They stay valid" in html
    for answer in ({}, {"agreed": "yes"}):
        assert "agree to it" in close_it(client, **answer).content.decode()
    assert User.objects.get().is_active
    before = agreed(client)
    return_tickets(booking, 1, key=booking.idempotency_key, now=timezone.now())
    close_it(client, **before)  # another number than the page showed
    assert User.objects.get().is_active
    assert "You have 1 ticket for a coming concert." in page(client)
    cancel(booking, now=timezone.now())
    assert 'name="agreed"' not in page(client)
    close_it(client)
    assert not User.objects.get().is_active


def test_tickets_of_past_and_of_called_off_concerts_need_no_answer(ann, tier, book):
    past, off = TicketTierFactory(), TicketTierFactory()
    for each in (past, off):
        fulfil(book(ann, each), now=timezone.now())
    type(past.concert).objects.filter(pk=past.concert_id).update(
        date=timezone.now() - timedelta(days=1)
    )
    type(off.concert).objects.filter(pk=off.concert_id).update(status="CANCELLED")
    assert agreement(ann) == ""


@pytest.mark.parametrize("state", ["pending", "not fulfilled"])
def test_an_account_with_an_unfinished_booking_is_not_closed_yet(client, ann, tier, book, state):
    hold(wish(ann, tier)) if state == "pending" else book(ann, tier)
    assert "A booking of yours is not finished" in page(client)
    assert "A booking of yours is not finished" in close_it(client).content.decode()
    with pytest.raises(Unfinished):
        close(ann, agreed="")
    assert User.objects.get().is_active


@pytest.mark.parametrize("field", ["is_staff", "is_superuser"])
def test_staff_are_refused(client, ann, field):
    User.objects.update(**{field: True})
    assert "back office" in page(client)
    assert "back office" in close_it(client).content.decode()
    assert User.objects.get().is_active


def test_money_on_its_way_still_arrives(client, ann, booking):
    cancel(booking, now=timezone.now())
    close_it(client, **agreed(client))
    assert booking.refunds.get().status in {"DUE", "SENT"}
    assert audit() == []


# --- Mails --------------------------------------------------------------------------------------


def mark_sent(**which):
    Mail.objects.filter(**which).update(status="SENT", sent_at=timezone.now())


def test_mails_that_wait_are_still_sent_and_then_forgotten(client, ann, booking):
    Mail.objects.filter(kind="tickets").update(status="FAILED", last_error=f"550 {EMAIL}")
    cancel(booking, now=timezone.now())
    close_it(client)
    waiting = Mail.objects.waiting().order_by("id")
    assert [mail.kind for mail in waiting] == ["cancelled", "account_closed"]
    for mail in waiting:
        assert mail.address == EMAIL
        text = compose(mail).body
        assert closing.NOBODY not in text
        assert "Ann" not in text
    mark_sent(kind="account_closed")
    forget_addresses()
    assert Mail.objects.filter(address=EMAIL).count() == 3  # one still waits
    mark_sent(kind="cancelled")
    again = User.objects.create_user(EMAIL, PASSWORD, name="Ann")
    Mail.objects.create(
        kind="password_changed", about=again.pk, key="k", address=EMAIL, message_id="m"
    )
    forget_addresses()
    assert [mail.kind for mail in Mail.objects.filter(address=EMAIL)] == ["password_changed"]
    assert not Mail.objects.filter(last_error__contains=EMAIL).exists()


def test_a_guest_of_the_same_address_reads_no_address_that_was_forgotten(client, ann, tier, book):
    key = uuid.uuid4()
    of_guest = book(guests.enter(email=EMAIL, name="Ann", key=key), tier, key=key)
    fulfil(Booking.objects.with_details().get(), now=timezone.now())
    close_it(client)
    mark_sent()
    forget_addresses()
    told = story_of(Booking.objects.with_details().get(pk=of_guest.pk))
    assert told[-1].says == "The tickets were mailed."
    Mail.objects.filter(kind="tickets").update(status="FAILED", sent_at=None, last_error="550")
    told = story_of(Booking.objects.with_details().get(pk=of_guest.pk))
    assert told[-1].says == "The mail could not be delivered."


def test_a_mail_about_a_booking_of_a_closed_account_is_skipped(client, ann, booking):
    close_it(client, **agreed(client))
    cancel(booking, now=timezone.now())
    mail = Mail.objects.get(kind="cancelled")
    assert mail.address.endswith("@closed.invalid")
    assert compose(mail) is None


def test_the_night_forgets_addresses_that_nobody_has_an_account_with(client):
    client.post("/accounts/forgotten/", {"email": "stranger@example.com"})
    in_the_night(0)
    assert Mail.objects.count() == 1  # it has not been looked at yet
    Mail.objects.update(status="SKIPPED")
    in_the_night(0)
    assert not Mail.objects.exists()


def test_an_agreement_is_to_what_the_page_said(ann, booking):
    with pytest.raises(NotAgreed):
        close(ann, agreed="")
    close(ann, agreed=agreement(ann))


def test_an_account_is_closed_once(ann):
    stale = User.objects.get(pk=ann.pk)
    close(ann, agreed="")
    with pytest.raises(PasswordChangedMeanwhile):
        close(stale, agreed="")
    assert Mail.objects.filter(kind="account_closed").count() == 1
