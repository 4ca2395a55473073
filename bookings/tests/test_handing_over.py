"""A booking goes to another address, and nothing of it stays with the old one."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts import closing
from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import cancelling, claiming, guests, links
from bookings.audit import audit
from bookings.cancelling import cancel, cancel_for_customer
from bookings.errors import ChangedMeanwhile, CustomerLimitReached, HandedOver
from bookings.handing_over import NotHandedOver, SameAddress, hand_over
from bookings.models import Booking, GuestSlip
from bookings.placing import place
from bookings.tests.api_client import Api
from bookings.tests.guest_pages import EMAIL, book_as_guest, guest_form, last_mail, path_in
from bookings.tests.pages import post
from bookings.tests.racing import Stepped, race
from bookings.tests.wishing import wish
from concerts.models import TicketTier
from mail.composing import compose
from mail.models import Mail
from ticketbook.postgres import clock
from tickets.again import send_again
from tickets.errors import TicketVoid
from tickets.fulfilment import fulfil
from tickets.models import Ticket
from tickets.naming import name_holder

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]
NEW = "nora@example.com"


@pytest.fixture
def boss():
    return UserFactory(is_staff=True)


@pytest.fixture
def hand(boss):
    def hand(booking, email=NEW, **changes):
        facts = {"name": "Nora", "seen": str(booking.user_id), "by": boss, "note": "a typo"}
        return hand_over(booking, email=email, now=clock.ask(), **facts | changes)

    return hand


@pytest.fixture
def of_guest(client, tier):
    """A guest's booking, made with `client` by the page's form."""
    book_as_guest(client, tier)
    booking = Booking.objects.with_details().get()
    fulfil(booking, now=clock.ask())
    return booking


@pytest.fixture
def of_ann(ann, tier):
    booking = place(wish(ann, tier, 2)).booking
    fulfil(booking, now=clock.ask())
    return Booking.objects.with_details().get()


def get(booking):
    return Booking.objects.with_details().get(pk=booking.pk)


def test_a_booking_of_a_guest_belongs_to_the_guest_of_the_new_address(of_guest, hand):
    handed = hand(of_guest)
    assert get(handed).user == User.objects.guests().get(email=NEW)
    assert guests.name_for(get(handed)) == "Nora"
    assert audit() == []
    assert links.address_of(get(handed)).endswith(path_in(last_mail("tickets"), "/b/"))


def test_the_old_link_and_browser_open_nothing_and_the_new_link_opens_it(client, of_guest, hand):
    old = path_in(compose_of("tickets"), "/b/")
    page = f"/bookings/{of_guest.pk}/"
    assert client.get(page).status_code == 200
    hand(of_guest)
    assert client.get(page).status_code == 302  # to log in
    assert client.get(old).status_code == 410
    new = Client()
    assert new.get(path_in(last_mail("tickets"), "/b/"), follow=True).status_code == 200
    assert new.get(page).status_code == 200


def compose_of(kind):
    return compose(Mail.objects.filter(kind=kind).earliest("id")).body


def test_the_old_codes_and_pages_of_tickets_are_gone(client, of_guest, hand):
    before = list(Ticket.objects.filter(booking=of_guest).order_by("number"))
    before[0].holder_name = "Olga"
    before[0].save()
    tokens = [ticket.token for ticket in Ticket.objects.with_details()]
    hand(of_guest)
    after = list(Ticket.objects.filter(booking=of_guest).order_by("number"))
    assert [each.number for each in after] == [each.number for each in before]
    assert not {each.code for each in after} & {each.code for each in before}
    assert after[0].holder_name == "Olga"
    assert [client.get(f"/tickets/{token}/").status_code for token in tokens] == [404, 404]
    body = last_mail("tickets")
    assert all(each.code in body for each in after)
    assert Mail.objects.filter(kind="tickets").latest("id").address == NEW


def test_the_old_address_is_told_and_not_to_whom(of_guest, hand):
    hand(of_guest)
    mail = Mail.objects.get(kind="handed_over")
    assert mail.address == EMAIL
    body = last_mail("handed_over")
    assert of_guest.number in body
    for secret in (NEW, "Nora", "/b/", *Ticket.objects.values_list("code", flat=True)):
        assert secret not in body


def test_tickets_that_are_not_made_yet_go_to_the_new_address(client, tier, hand):
    book_as_guest(client, tier)
    handed = hand(Booking.objects.with_details().get())
    assert not Mail.objects.filter(kind="tickets").exists()
    fulfil(get(handed), now=clock.ask())
    assert Mail.objects.get(kind="tickets").address == NEW


# --- Keys ---------------------------------------------------------------------------------------


def test_a_guests_form_that_comes_once_more_books_and_opens_nothing(client, tier, hand):
    form = guest_form(tier)
    post(client, form)
    hand(Booking.objects.with_details().get())
    assert post(client, form).status_code == 303
    assert Booking.objects.count() == 1
    assert client.get(f"/bookings/{Booking.objects.get().pk}/").status_code == 302
    other_browser = Client()
    post(other_browser, form)
    assert other_browser.get(f"/bookings/{Booking.objects.get().pk}/").status_code == 302
    assert Booking.objects.count() == 1
    assert audit() == []


def test_an_accounts_request_that_comes_once_more_books_and_charges_nothing(
    ledger, api, ann, tier, hand
):
    body = {"ticketTierId": str(tier.pk), "quantity": 2, "idempotencyKey": str(uuid.uuid4())}
    assert api.post(body).status_code == 201
    booking = Booking.objects.with_details().get()
    hand(booking)
    again = api.post(body)
    assert again.status_code == 402
    assert ledger.captured() == {str(booking.pk): booking.total_price}
    tier.refresh_from_db()
    assert tier.taken_quantity == 2
    assert get(booking).user.email == NEW
    assert audit() == []
    assert api.get(f"/{booking.pk}").status_code == 404


def test_the_account_reads_what_became_of_its_booking(ann, of_ann, hand):
    hand(of_ann)
    kept = Booking.objects.get(user=ann)
    client = Client()
    client.force_login(ann)
    page = client.get(f"/bookings/{kept.pk}/").content.decode()
    assert "This booking was handed over" in page
    assert "It was handed over to another address." in page
    assert "Try again" not in page
    assert NEW not in page
    assert client.get(f"/bookings/{of_ann.pk}/").status_code == 404


def test_it_may_be_handed_on_and_back_and_kept_in_an_account(of_guest, hand):
    hand(of_guest)
    hand(get(of_guest), EMAIL, name="Gwen")
    assert get(of_guest).user.email == EMAIL
    assert guests.name_for(get(of_guest)) == "Gwen"
    account = UserFactory(email=EMAIL)
    claiming.claim(get(of_guest).user, account)
    assert get(of_guest).user == account
    hand(get(of_guest))
    assert get(of_guest).user.email == NEW
    assert audit() == []


def test_an_account_with_the_new_address_gets_it_by_the_mail_only(of_guest, hand):
    account = UserFactory(email=NEW)
    hand(of_guest)
    assert get(of_guest).user.is_guest
    claiming.claim(get(of_guest).user, account)
    assert get(of_guest).user == account
    assert audit() == []


# --- Refusals -----------------------------------------------------------------------------------


def test_it_is_refused_for_the_same_address_and_for_what_is_not_confirmed(of_guest, hand):
    with pytest.raises(SameAddress):
        hand(of_guest, EMAIL)
    cancel(of_guest, now=clock.ask())
    with pytest.raises(NotHandedOver):
        hand(of_guest)
    assert get(of_guest).user.email == EMAIL
    assert not Mail.objects.filter(kind="handed_over").exists()


def test_a_stale_page_hands_nothing_over(of_guest, hand):
    stale = str(of_guest.user_id)
    hand(of_guest)
    with pytest.raises(ChangedMeanwhile):
        hand(of_guest, "third@example.com", seen=stale)
    assert get(of_guest).user.email == NEW


def test_the_limit_of_the_new_person_holds(of_guest, hand, tier):
    TicketTier.objects.update(max_per_customer=3)
    account = UserFactory(email=NEW)
    mine = place(wish(account, tier, 2)).booking
    with pytest.raises(CustomerLimitReached) as refused:
        hand(of_guest)
    assert refused.value.facts == {"maxPerCustomer": 3, "alreadyBooked": 2}
    assert get(of_guest).user.email == EMAIL
    cancel(mine, now=clock.ask())
    hand(of_guest)
    with pytest.raises(
        CustomerLimitReached
    ):  # it counts for the new person, and no more for the old one
        place(wish(account, tier, 2))
    place(wish(UserFactory(email=EMAIL), tier, 3))


# --- Races --------------------------------------------------------------------------------------


def test_handed_over_to_eight_addresses_at_once_it_goes_to_one(of_guest, hand):
    seen = str(of_guest.user_id)
    found = race(lambda n: hand(get(of_guest), f"n{n}@example.com", seen=seen), 8)
    assert found == {Booking: 1, ChangedMeanwhile: 7}
    assert Mail.objects.filter(kind="handed_over").count() == 1
    assert audit() == []


def test_it_races_with_a_claim_and_a_cancellation_and_the_audit_stays_clean(of_guest, hand, tier):
    account = UserFactory(email=EMAIL)
    acts = [
        lambda: hand(get(of_guest), seen=str(of_guest.user_id)),
        lambda: claiming.claim(of_guest.user, account),
        lambda: cancel(get(of_guest), now=clock.ask()),
    ]
    race(lambda n: acts[n](), 3)
    assert audit() == []
    tier.refresh_from_db()
    assert tier.taken_quantity == Booking.objects.holding_tickets().tickets()


@pytest.fixture
def meets_hand_over(hand):
    """Run a verb that has read the booking before, while it is being handed over."""

    def meets_hand_over(booking, act):
        read = get(booking)
        handing = Stepped(lambda: hand(booking), after="UPDATE bookings_booking")
        handing.wait_until_reached()
        other = Stepped(lambda: act(read)).wait_until_blocked_by(handing)
        assert isinstance(handing.finish(), Booking)
        return other.finish()

    yield meets_hand_over
    Stepped.release_all()


def test_the_old_customer_cancels_nothing_that_goes_away_at_this_moment(of_ann, meets_hand_over):
    found = meets_hand_over(of_ann, lambda read: cancel(read, now=clock.ask()))
    assert isinstance(found, HandedOver)
    assert (get(of_ann).status, get(of_ann).user.email) == ("CONFIRMED", NEW)
    assert not Mail.objects.filter(kind="cancelled").exists()
    assert audit() == []


def test_control_without_a_look_at_whose_it_is_the_old_customer_cancels_it(
    of_ann, meets_hand_over, monkeypatch
):
    monkeypatch.setattr(cancelling, "_lock_for_its_customer", lambda b: b.refresh_state())
    meets_hand_over(of_ann, lambda read: cancel(read, now=clock.ask()))
    assert (get(of_ann).status, get(of_ann).user.email) == ("CANCELLED", NEW)
    assert Mail.objects.get(kind="cancelled").address == of_ann.user.email  # the wrong one


def test_staff_who_saw_the_old_customer_cancel_nothing(of_ann, boss, meets_hand_over):
    def act(read):
        facts = {"refund": None, "seen": of_ann.as_seen, "by": boss, "note": "ill"}
        return cancel_for_customer(read, 2, now=clock.ask(), **facts)

    assert isinstance(meets_hand_over(of_ann, act), ChangedMeanwhile)
    assert get(of_ann).status == "CONFIRMED"


def test_tickets_that_are_sent_again_go_to_whoever_has_them_by_then(of_ann, boss, meets_hand_over):
    key = uuid.uuid4()
    meets_hand_over(of_ann, lambda read: send_again(read, key=key, by=boss))
    assert Mail.objects.get(key__endswith=str(key)).address == NEW


def test_a_ticket_that_is_replaced_at_this_moment_is_not_named(of_ann, hand):
    before = Ticket.objects.with_details().filter(booking=of_ann).first()
    hand(of_ann)
    with pytest.raises(TicketVoid):
        name_holder(before, "Olga", now=clock.ask())


# --- Mails on their way -------------------------------------------------------------------------


def test_a_mail_that_was_on_its_way_to_the_old_address_brings_it_nothing(client, of_guest, hand):
    """Its tickets and its link would be those of the new person."""
    (waiting,) = Mail.objects.filter(kind="tickets")
    assert compose(waiting)
    hand(of_guest)
    assert compose(waiting) is None
    assert compose(Mail.objects.filter(kind="tickets").latest("id")).to == [NEW]
    assert compose(Mail.objects.get(kind="handed_over")).to == [EMAIL]


def test_what_was_returned_before_is_told_to_the_old_address_no_more(client, of_guest, hand):
    cancelling.return_tickets(of_guest, 1, key=uuid.uuid4(), now=clock.ask())
    (waiting,) = Mail.objects.filter(kind="part_returned")
    assert compose(waiting)
    hand(get(of_guest))
    assert compose(waiting) is None


def test_a_mail_to_an_account_that_claimed_a_booking_still_comes(of_guest):
    (waiting,) = Mail.objects.filter(kind="tickets")
    claiming.claim(of_guest.user, UserFactory(email=EMAIL))
    assert compose(waiting).to == [EMAIL]


# --- What is kept -------------------------------------------------------------------------------


def test_the_history_names_the_decision_and_no_address(of_guest, hand, boss):
    hand(of_guest)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.change_message) == (boss, "Handed over to another address: a typo")
    assert EMAIL not in entry.object_repr


def test_a_closed_account_leaves_no_slip_of_what_it_had(ann, of_ann, hand):
    hand(of_ann)
    closing.close(ann, agreed=closing.agreement(ann))
    assert not GuestSlip.objects.filter(address="ann@example.com").exists()
    assert audit() == []


def test_an_api_client_lists_the_row_that_keeps_the_key_as_failed(ann, of_ann, hand):
    hand(of_ann)
    (listed,) = Api(ann).get("").json()
    assert (listed["status"], listed["paymentStatus"]) == ("FAILED", "FAILED")
