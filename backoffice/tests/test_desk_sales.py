"""Staff book tickets for somebody: free or for cash, for an address or at the door, once for each form."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.http import HttpResponseRedirect
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import UserFactory
from backoffice.tests.conftest import somebody_else_has_locked
from backoffice.verbs.desk_sales import BookFor
from bookings import desk
from bookings.audit import audit
from bookings.models import Booking
from bookings.resolving import resolve_expired
from bookings.tests.racing import race
from bookings.tests.wishing import hold
from bookings.wishes import StaffDecision
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from tickets.fulfilment import fulfil_waiting

pytestmark = pytest.mark.django_db
BOOK = BookFor()
FREE = {"source": "HOUSE", "paid": "none", "reason": "a friend of the house"}
DOOR = {"source": "DOOR", "paid": "cash", "reason": "box office", "name": "", "email": ""}


@pytest.fixture
def tier():
    return TicketTierFactory(total_quantity=20, price=45, max_per_customer=4)


def typed(**changes):
    person = {"quantity": 2, "name": "Gwen Lee", "email": "Gwen@Example.com"}
    return {"once": str(uuid.uuid4())} | person | FREE | changes


def test_a_complimentary_booking_is_made_and_mailed_to_a_guest(admin_client, tier):
    page = admin_client.get(BOOK.address(tier)).content.decode()
    assert "One ticket costs $45.00. 20 are free, and 0 are kept back." in page
    answer = admin_client.post(BOOK.address(tier), typed(source="ARTIST"), follow=True)

    booking = Booking.objects.get()
    assert answer.redirect_chain[0][0].startswith(BOOK.address(tier))
    said = answer.content.decode()
    assert "2 tickets are booked." in said
    assert f"/admin/bookings/booking/{booking.pk}/tickets.pdf" in said
    assert (booking.status, booking.source, booking.total_price) == ("CONFIRMED", "ARTIST", 0)
    assert (booking.user.email, booking.user.is_guest) == ("gwen@example.com", True)
    [entry] = LogEntry.objects.filter(content_type__model="booking")
    assert entry.change_message.endswith("(Artist, free): a friend of the house")
    fulfil_waiting(now=timezone.now())
    assert Mail.objects.get().address == "gwen@example.com"
    assert audit() == []


def test_at_the_door_tickets_are_sold_for_cash_and_printed_without_a_name(admin_client, tier):
    page = admin_client.post(BOOK.address(tier), typed(**DOOR, quantity=1), follow=True)
    said = page.content.decode()
    assert "1 ticket is booked. Cash: $45.00." in said
    booking = Booking.objects.get()
    assert (booking.source, booking.gateway, booking.total_price) == ("DOOR", "cash", 45)
    printed = admin_client.get(f"/admin/bookings/booking/{booking.pk}/tickets.pdf")
    assert printed["Content-Type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF")


def test_a_buyer_without_an_address_is_called_so_and_is_sent_nothing(admin_client, tier):
    admin_client.post(BOOK.address(tier), typed(**DOOR))
    booking = Booking.objects.get()
    page = f"/admin/bookings/booking/{booking.pk}/"
    shown = admin_client.get(f"{page}change/").content.decode()
    assert "At the door (no address)" in shown
    assert ".invalid" not in shown
    said = admin_client.get(f"{page}cancel/").content.decode()
    assert "Nobody is told by mail, because there is no address." in said
    said = admin_client.get(f"{page}send-tickets/").content.decode()
    assert "There is no address to send them to." in said


def test_nothing_is_booked_for_a_concert_that_was_called_off(admin_client, tier):
    Concert.objects.update(status="CANCELLED")
    answer = admin_client.post(BOOK.address(tier), typed())
    assert "The concert was called off." in answer.content.decode()
    assert not Booking.objects.exists()


def test_the_address_of_an_account_books_for_the_account(admin_client, tier):
    ann = UserFactory(email="ann@example.com")
    admin_client.post(BOOK.address(tier), typed(email="ANN@example.com"))
    assert Booking.objects.get().user == ann


def test_the_next_one_at_the_door_is_sold_with_the_same_choices(admin_client, tier):
    first = admin_client.post(BOOK.address(tier), typed(**DOOR, quantity=2), follow=True)
    form = first.context["form"]
    assert {name: form[name].value() for name in ("source", "paid", "reason", "email")} == {
        **{name: DOOR[name] for name in ("source", "paid", "reason")},
        "email": None,
    }
    assert not form["quantity"].value()  # so that a second press sells nothing
    page = admin_client.get(f"{BOOK.address(tier)}?once={uuid.UUID(int=7)}&waives_limit=on")
    assert page.context["form"]["once"].value() != uuid.UUID(int=7)
    assert not page.context["form"]["waives_limit"].value()


def test_only_staff_who_may_see_bookings_print_tickets(admin_client, staff_who_may, tier):
    admin_client.post(BOOK.address(tier), typed())
    url = f"/admin/bookings/booking/{Booking.objects.get().pk}/tickets.pdf"
    assert staff_who_may("view_booking").get(url).status_code == 200
    assert staff_who_may("view_concert").get(url).status_code == 403
    client = Client()
    client.force_login(UserFactory())
    assert client.get(url).status_code == 302
    Booking.objects.update(status="CANCELLED", returned_quantity=2)
    page = staff_who_may("view_booking").get(url, follow=True).content.decode()
    assert "Only a confirmed booking has tickets" in page
    assert staff_who_may("view_booking").get(url.replace("0", "1")).status_code == 404


def test_a_form_that_is_sent_again_finds_its_booking(admin_client, tier):
    form = typed()
    admin_client.post(BOOK.address(tier), form)
    again = admin_client.post(BOOK.address(tier), form, follow=True).content.decode()
    assert "2 tickets were booked before." in again
    assert Booking.objects.count() == 1
    other = admin_client.post(BOOK.address(tier), form | {"quantity": 3})
    assert "booked before with another number of tickets" in other.content.decode()
    assert Booking.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_eight_times_at_once_books_once(admin_user, tier):
    form = typed()

    def send(i):
        client = Client()
        client.force_login(admin_user)
        return client.post(BOOK.address(tier), form)

    assert race(send, 8)[HttpResponseRedirect] >= 1
    assert Booking.objects.count() == 1
    assert audit() == []


def test_a_form_whose_process_died_goes_on_when_it_is_sent_again(admin_client, admin_user, tier):
    for paid, says in (("none", "2 tickets were booked before."), ("cash", "Take no money for it")):
        form = typed(paid=paid, waives_limit="on")
        decision = StaffDecision(by=admin_user, source=Booking.Source.HOUSE, gateway=paid, note="x")
        order = desk.Order(
            tier_id=tier.pk,
            quantity=2,
            name="Gwen",
            email="gwen@example.com",
            key=uuid.UUID(form["once"]),
            decision=decision,
        )
        guest = desk.guests.enter(email=order.email, name=order.name, key=order.key)
        held = hold(order.wish(guest, now=timezone.now())).booking
        page = admin_client.post(BOOK.address(tier), form)
        assert "It is not known yet whether this is booked" in page.content.decode()
        assert form["once"] in page.content.decode(), "the same form can be sent again"
        Booking.objects.filter(pk=held.pk).update(hold_expires_at=timezone.now())
        resolve_expired(now=timezone.now())
        page = admin_client.post(BOOK.address(tier), form, follow=True)
        assert says in page.content.decode()
    assert audit() == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"quantity": "0"}, "greater than or equal to 1"),
        ({"quantity": "-2"}, "greater than or equal to 1"),
        ({"quantity": "11"}, "less than or equal to 10"),
        ({"quantity": "9" * 30}, "less than or equal to 10"),
        ({"quantity": "1.5"}, "Enter a whole number."),
        ({"email": "gwen"}, "Enter a valid email address."),
        ({"email": ""}, "Only a sale at the door goes without it."),
        ({"name": ""}, "Only a sale at the door goes without it."),
        ({"name": "\u200b"}, "Remove characters that cannot be seen."),
        ({"source": "ONLINE"}, "Select a valid choice."),
        ({"paid": "simulated"}, "Select a valid choice."),
        ({"paid": ""}, "This field is required."),
        ({"reason": ""}, "This field is required."),
        ({"quantity": "5"}, "gwen@example.com may have at most 4 tickets of this tier; tick"),
        ({"quantity": "10", "waives_limit": "on"}, "Only 9 tickets are available."),
        ({"quantity": "4", "from_kept_back": "on"}, "Only 3 tickets are kept back."),
    ],
    ids=str,
)
def test_what_is_refused_gets_a_sentence_and_books_nothing(admin_client, tier, wrong, sentence):
    TicketTier.objects.update(kept_back=3, available_quantity=9, total_quantity=12)
    answer = admin_client.post(BOOK.address(tier), typed(**wrong))
    assert answer.status_code == 409
    assert sentence in answer.content.decode()
    assert not Booking.objects.exists()
    tier.refresh_from_db()
    assert (tier.kept_back, tier.available_quantity) == (3, 9)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": "DRAFT"}, "The concert is a draft. Publish it first."),
        ({"status": "CANCELLED"}, "The concert was called off."),
        ({"date": -1}, "The concert is not on sale now; tick “also outside of the sales times”."),
    ],
    ids=str,
)
def test_a_concert_that_does_not_sell_says_why(admin_client, tier, changes, sentence):
    waive = {} if "date" in changes else {"waives_sales_times": "on"}
    if "date" in changes:
        changes = {"date": timezone.now() - timedelta(hours=1)}
    Concert.objects.update(**changes)
    answer = admin_client.post(BOOK.address(tier), typed(**waive))
    assert sentence in answer.content.decode()
    assert not Booking.objects.exists()
    if "date" in changes:
        admin_client.post(BOOK.address(tier), typed(waives_sales_times="on"))
        assert Booking.objects.get().status == "CONFIRMED"


@pytest.mark.django_db(transaction=True)
def test_a_tier_that_is_locked_for_too_long_says_so_and_the_form_can_be_sent_again(
    admin_client, tier
):
    form = typed()
    with somebody_else_has_locked(tier):
        refused = admin_client.post(BOOK.address(tier), form)
    assert "Somebody else is changing this at the moment" in refused.content.decode()
    assert not Booking.objects.exists()
    admin_client.post(BOOK.address(tier), form)
    assert Booking.objects.get().status == "CONFIRMED"
