"""The story of a booking for staff: what, when, by whom, and why."""

import html
import re
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from backoffice.timeline import timeline_of
from bookings import guests
from bookings.alerts import dismiss
from bookings.cancelling import cancel, cancel_for_customer, return_tickets
from bookings.handing_over import hand_over
from bookings.models import Booking, PaymentEvent, Refund
from bookings.placing import place
from bookings.refunding import give_money_back
from bookings.tests.wishing import wish
from concerts.calling_off import call_off
from concerts.tests.factories import TicketTierFactory
from concerts.tests.moves import move
from mail.models import Mail
from tickets.again import send_again
from tickets.fulfilment import fulfil
from tickets.messages import draft, send, write_some
from tickets.story import story_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]


@pytest.fixture
def boss():
    return UserFactory(email="boss@example.com", is_staff=True)


@pytest.fixture
def booking():
    tier = TicketTierFactory(price=10, concert__date=timezone.now() + timedelta(days=30))
    ann = User.objects.create_user("ann@example.com", name="Ann")
    booking = place(wish(ann, tier, 4)).booking
    fulfil(booking, now=timezone.now())
    return Booking.objects.with_details().get()


def told(booking):
    return [entry.says for entry in timeline_of(Booking.objects.with_details().get(pk=booking.pk))]


def entry(booking, beginning):
    entries = timeline_of(Booking.objects.with_details().get(pk=booking.pk))
    (found,) = [each for each in entries if each.says.startswith(beginning)]
    return found


def test_a_sale(booking):
    assert told(booking) == [
        "Held 4 × General admission for $40.00.",
        "Paid $40.00 by simulated payment.",
        "Made the tickets.",
        "Mail “Tickets” to ann@example.com is on its way.",
    ]
    assert entry(booking, "Held").by == "the customer"


def test_what_staff_did_and_why(booking, boss):
    now = timezone.now()
    cancel_for_customer(
        booking, 1, numbers=[3], refund=Decimal(0), by=boss, note="no show", now=now
    )
    give_money_back(booking, Decimal(5), by=boss, note="loud hall", now=now)
    send_again(booking, key=uuid.uuid4(), by=boss)
    gave = entry(booking, "Gave back 1 of 4 tickets (number 3), without money.")
    assert (gave.by, gave.why) == ("boss@example.com", "no show")
    owed = entry(booking, "$5.00 to be sent back: goodwill.")
    assert (owed.by, owed.why) == ("boss@example.com", "loud hall")
    assert entry(booking, "$5.00 sent back.").at
    assert entry(booking, "Sent the tickets again.").by == "boss@example.com"
    assert sum(says.startswith("Mail “Tickets”") for says in told(booking)) == 2
    assert any(says.startswith("Mail “Refunded”") for says in told(booking))


def test_what_the_customer_did(booking):
    return_tickets(booking, 1, key=uuid.uuid4(), now=timezone.now())
    cancel(booking, now=timezone.now())
    assert entry(booking, "Gave back 1 of 4").by == "the customer"
    assert entry(booking, "Gave back 3 of 4").by == "the customer"


@pytest.mark.parametrize("change", ["return", "refund", "cancel", "call off"])
def test_the_time_of_the_payment_stays_whatever_comes_after_it(booking, boss, change):
    paid = entry(booking, "Paid")
    assert paid.at == booking.updated_at
    for _ in range(2):  # the first change keeps it, and the second leaves it
        now, facts = timezone.now(), {"by": boss, "note": "x"}
        match change:
            case "return":
                return_tickets(booking, 1, key=uuid.uuid4(), now=now)
            case "refund":
                give_money_back(booking, Decimal(1), now=now, **facts)
            case "cancel":
                cancel(booking, now=now)
            case "call off":
                give_money_back(booking, Decimal(1), now=now, **facts)
                change = "called off"
            case "called off":
                call_off(booking.ticket_tier.concert_id, now=now, **facts)
        assert entry(booking, "Paid") == paid
        booking.refresh_from_db()


def test_calling_off_at_once_keeps_the_time_of_the_payment(booking, boss):
    paid = entry(booking, "Paid")
    call_off(booking.ticket_tier.concert_id, by=boss, note="ill", now=timezone.now())
    assert entry(booking, "Paid") == paid
    (of_customer,) = [each for each in story_of(booking) if each.says == "$40.00 paid."]
    assert of_customer.at == paid.at


def test_what_failed_stands_out(booking, boss):
    refund = give_money_back(booking, Decimal(5), by=boss, note="x", now=timezone.now())
    Refund.objects.filter(pk=refund.pk).update(status="FAILED", failure="card closed", sent_at=None)
    Mail.objects.update(status="FAILED", last_error="no such mailbox")
    assert entry(booking, "The gateway refused to send $5.00 back: card closed").bad
    assert entry(booking, "Mail “Tickets” to ann@example.com could not be delivered").bad


def test_messages_of_the_gateway_and_their_dismissal(booking, boss):
    event = PaymentEvent.objects.create(
        gateway="hosted", event_id="1", type="paid", key=booking.pk, found="SUCCEEDED", alert="Odd."
    )
    assert entry(
        booking, "Simulated payment page told us: paid; asked, it said: SUCCEEDED. Odd."
    ).bad
    dismiss(event, by=boss, note="looked at it")
    gone = entry(booking, "Dismissed “Odd.”")
    assert (gone.by, gone.why) == ("boss@example.com", "looked at it")


def test_the_concert_moved_and_the_address_changed(booking, boss):
    move(booking.ticket_tier.concert, venue="Arena")
    hand_over(
        booking,
        email="nora@example.com",
        name="Nora",
        seen=str(booking.user_id),
        by=boss,
        note="sold",
        now=timezone.now(),
    )
    assert entry(booking, "The concert moved.")
    assert entry(booking, "Handed over to another address.").why == "sold"
    assert entry(booking, "Mail “Handed over” to ann@example.com")


def test_a_calling_off_stands_where_it_happened(booking, boss):
    call_off(booking.ticket_tier.concert_id, by=boss, note="ill", now=timezone.now())
    says = told(booking)
    assert says.index("Made the tickets.") < says.index("Its concert was called off.")
    assert says.index("Its concert was called off.") < says.index("Gave back all tickets.")


def test_a_message_to_holders(booking, boss):
    concert = booking.ticket_tier.concert
    now = timezone.now() + timedelta(seconds=1)
    message = draft(
        concert=concert, tier=None, subject="Doors at six", text="Come.", by=boss, now=now
    )
    send(message)
    write_some(now=now)
    assert entry(booking, "Message to holders: Doors at six").by == "boss@example.com"
    assert not any(says.startswith("Mail “Message") for says in told(booking))


def test_a_booking_that_failed_and_one_that_staff_made(booking, boss):
    Booking.objects.update(
        status="FAILED", payment_status="FAILED", failure_reason="DECLINED", source="HOUSE"
    )
    assert told(booking)[:2] == [
        "Booked 4 × General admission for $40.00 (house).",
        "Failed: payment declined. The tickets went back on sale.",
    ]


def test_the_page_of_a_booking_shows_it_in_few_queries(
    admin_client, booking, boss, django_assert_num_queries
):
    for _ in range(3):
        give_money_back(booking, Decimal(1), by=boss, note="<b>loud</b>", now=timezone.now())
    url = f"/admin/bookings/booking/{booking.pk}/change/"
    admin_client.get(url)
    with django_assert_num_queries(15):
        page = admin_client.get(url).content.decode()
    assert "What has happened" in page
    assert "&lt;b&gt;loud" in page
    assert booking.number in page
    assert f"/admin/concerts/concert/{booking.ticket_tier.concert_id}/change/" in page
    assert f"/admin/accounts/user/{booking.user_id}/change/" in page


def test_a_guests_own_name_is_on_the_page(admin_client):
    key = uuid.uuid4()
    tier = TicketTierFactory()
    for name, each in (("Gwen", uuid.uuid4()), ("Owen", key)):
        guest = guests.enter(email="g@example.com", name=name, key=each)
        made = place(wish(User.objects.get(pk=guest.id), tier, 1, each)).booking
    page = admin_client.get(f"/admin/bookings/booking/{made.pk}/change/").content.decode()
    assert "Owen" in page
    assert "Gwen" not in page


def test_concerts_tiers_and_customers_lead_to_their_bookings(admin_client, booking):
    tier = booking.ticket_tier
    for page in (
        f"concerts/concert/{tier.concert_id}",
        f"concerts/tickettier/{tier.pk}",
        f"accounts/user/{booking.user_id}",
    ):
        text = admin_client.get(f"/admin/{page}/change/").content.decode()
        (url,) = re.findall(r'<li><a href="([^"]+)">Bookings</a></li>', text)
        shown = admin_client.get(html.unescape(url)).context["cl"].result_list
        assert list(shown) == [booking], page
