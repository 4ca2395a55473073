"""What staff do to a booking by buttons: each says what it will do, and does it once."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from backoffice.timeline import timeline_of
from backoffice.verbs import customers, money_back, payments
from backoffice.verbs.every import EVERY
from bookings.audit import audit
from bookings.cancelling import cancel_for_customer, return_tickets
from bookings.errors import NoCashDue
from bookings.gateways import named
from bookings.models import Booking, PaymentEvent, Refund
from bookings.placing import place
from bookings.refunding import hand_over_cash, send_refunds
from bookings.tests.wishing import hold, wish
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from tickets.fulfilment import fulfil
from tickets.models import Ticket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]

OF_BOOKINGS = [verb for verb in EVERY if verb.model is Booking]
CONFIRMED = [verb for verb in OF_BOOKINGS if verb.name not in {"ask-gateway", "hand-over-cash"}]


@pytest.fixture
def tier():
    return TicketTierFactory(price=10, concert__date=timezone.now() + timedelta(days=30))


@pytest.fixture
def ann():
    return User.objects.create_user("ann@example.com", name="Ann")


@pytest.fixture
def booking(ann, tier):
    booking = place(wish(ann, tier, 4)).booking
    fulfil(booking, now=timezone.now())
    return Booking.objects.with_details().get(pk=booking.pk)


class Desk:
    """Opens the page of a verb, and sends its form."""

    def __init__(self, client, verb, row):
        self.client, self.url = client, verb.address(row)

    def read(self):
        page = self.client.get(self.url)
        self.form = page.context["form"]
        return page.content.decode()

    def send(self, **typed):
        hidden = {
            "once": self.form["once"].value(),
            "seen": self.form.fields["seen"].widget.now,
        }
        answer = self.client.post(self.url, hidden | typed, follow=True)
        self.answer = answer
        return answer.content.decode()


@pytest.fixture
def desk(admin_client):
    return lambda verb, row: Desk(admin_client, verb, row)


def now_of(booking):
    return Booking.objects.with_details().get(pk=booking.pk)


def test_cancel_says_the_sum_and_sends_it_back(desk, booking, tier):
    cancel = desk(money_back.Cancel(), booking)
    page = cancel.read()
    assert "4 tickets go back on sale, and $40.00 is sent back to ann@example.com" in page
    assert "This cannot be undone." in page
    said = cancel.send(reason="asked by phone")
    assert (
        "The booking is cancelled, and 4 tickets went back on sale. $40.00 was sent back." in said
    )
    now = now_of(booking)
    assert (now.status, now.payment_status) == ("CANCELLED", "REFUNDED")
    assert Refund.objects.get().note == "asked by phone"
    tier.refresh_from_db()
    assert tier.taken_quantity == 0
    assert Mail.objects.filter(kind="cancelled").count() == 1
    again = cancel.send(reason="asked by phone")
    assert "was sent before" in again
    assert Refund.objects.count() == 1
    assert audit() == []


def test_cancel_works_after_the_concert_has_begun_and_with_cash(desk, booking):
    Concert.objects.update(date=timezone.now() - timedelta(hours=1))
    Booking.objects.update(gateway=named.CASH)
    cancel = desk(money_back.Cancel(), booking)
    assert "$40.00 is handed over in cash by you" in cancel.read()
    assert "Hand over $40.00 in cash." in cancel.send(reason="rain")


@pytest.fixture
def cash_due(booking):
    """A booking that was paid in cash and cancelled."""
    Booking.objects.update(gateway=named.CASH)
    booking.refresh_from_db(fields=["gateway"])
    boss = UserFactory(is_staff=True)
    facts = {"refund": None, "by": boss, "note": "rain", "now": timezone.now()}
    cancel_for_customer(booking, 4, **facts)
    return now_of(booking)


def test_cash_waits_until_somebody_says_that_it_was_handed_over(desk, cash_due, admin_user):
    send_refunds(cash_due, now=timezone.now())  # as the worker does
    assert now_of(cash_due).payment_status == "SUCCESS"
    over = desk(money_back.HandOverCash(), cash_due)
    assert "Give $40.00 to ann@example.com in cash first." in over.read()
    assert "$40.00 was handed over in cash." in over.send()
    assert Refund.objects.get().status == "SENT"
    assert now_of(cash_due).payment_status == "REFUNDED"
    entry = LogEntry.objects.get(change_message="Handed over $40.00 in cash")
    assert (entry.user, entry.object_id) == (admin_user, str(cash_due.pk))
    told = [each.says for each in timeline_of(now_of(cash_due))]
    assert "$40.00 to be handed over in cash: booking cancelled." in told
    assert told[-1] == "Handed over $40.00 in cash."
    assert "was sent before" in over.send()
    assert audit() == []


def test_a_part_that_was_handed_over_leaves_the_rest_due(desk, booking):
    Booking.objects.update(gateway=named.CASH)
    desk_refund = desk(money_back.GiveMoneyBack(), booking)
    desk_refund.read()
    assert "Hand over $5.00 in cash." in desk_refund.send(amount="5", reason="loud")
    hand_over_cash(booking, by=UserFactory(), now=timezone.now())
    assert now_of(booking).payment_status == "SUCCESS"
    with pytest.raises(NoCashDue):
        hand_over_cash(booking, by=UserFactory(), now=timezone.now())


def test_only_cash_that_is_due_has_the_button(desk, admin_client, booking, cash_due):
    page = f"/admin/bookings/booking/{cash_due.pk}/change/"
    assert "Cash was handed over" in admin_client.get(page).content.decode()
    hand_over_cash(cash_due, by=UserFactory(), now=timezone.now())
    assert "Cash was handed over" not in admin_client.get(page).content.decode()


def test_the_customer_reads_whether_the_cash_was_handed_over(client, cash_due):
    client.force_login(cash_due.user)
    page = f"/bookings/{cash_due.pk}/"
    assert "You get $40.00 back in cash. Please ask our staff" in client.get(page).content.decode()
    hand_over_cash(cash_due, by=UserFactory(), now=timezone.now())
    after = client.get(page).content.decode()
    assert "You got $40.00 back in cash." in after
    assert "Please ask our staff" not in after


def test_some_tickets_go_back_with_their_price_a_sum_or_nothing(desk, booking):
    give = desk(money_back.ReturnTickets(), booking)
    page = give.read()
    assert "1 ticket: $10.00, 2 tickets: $20.00, 3 tickets: $30.00, 4 tickets: $40.00" in page
    code = Ticket.objects.get(booking=booking, number=2).code
    assert f"Ticket 2, {code}" in page
    assert (
        "1 ticket went back on sale, and the booking keeps 3. $10.00 was sent back."
        in give.send(numbers=["2"], refund="price", reason="ill")
    )
    give.read()
    assert "$2.50 was sent back" in give.send(
        numbers=["1"], refund="sum", amount="2.50", reason="half"
    )
    give.read()
    assert "No money goes back." in give.send(numbers=["4"], refund="nothing", reason="no show")
    assert now_of(booking).kept_numbers == [3]
    assert now_of(booking).refunded_total == Decimal("12.50")
    assert Ticket.objects.filter(booking=booking, returned_at=None).get().number == 3
    assert audit() == []


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"numbers": []}, "This field is required."),
        ({"numbers": ["9"]}, "Select a valid choice."),
        ({"numbers": ["x"]}, "Select a valid choice."),
        ({"refund": "all"}, "Select a valid choice."),
        ({"refund": "sum"}, "Type the sum, or choose another kind of refund."),
        ({"refund": "price", "amount": "1"}, "or leave this empty"),
        ({"refund": "sum", "amount": "0"}, "greater than or equal to 0.01"),
        ({"refund": "sum", "amount": "-3"}, "greater than or equal to 0.01"),
        ({"refund": "sum", "amount": "1.234"}, "no more than 2 decimal places"),
        ({"refund": "sum", "amount": "40.01"}, "At most $40.00 is left of the price."),
        ({"refund": "sum", "amount": "99999999999"}, "digits"),
        ({"refund": "sum", "amount": "NaN"}, "Enter a number."),
        ({"reason": " "}, "This field is required."),
        ({"reason": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(desk, booking, typed, sentence):
    give = desk(money_back.ReturnTickets(), booking)
    give.read()
    page = give.send(**{"numbers": ["2"], "refund": "price", "reason": "ill"} | typed)
    assert give.answer.status_code == 409
    assert sentence in page
    assert now_of(booking).as_seen == booking.as_seen
    # What was typed stays, and the same form is good when it is mended.
    assert "went back on sale" in give.send(numbers=["2"], refund="price", reason="ill")


def test_money_goes_back_and_the_tickets_stay(desk, booking):
    refund = desk(money_back.GiveMoneyBack(), booking)
    page = refund.read()
    assert "$40.00 was paid, and $0.00 of it was given back." in page
    assert "The customer keeps 4 tickets." in page
    assert "At most $40.00 is left" in refund.send(amount="41", reason="loud")
    assert "$15.00 was sent back." in refund.send(amount="15", reason="loud")
    assert now_of(booking).kept_quantity == 4
    assert "At most $25.00." in refund.read()
    assert audit() == []


def test_a_stale_page_changes_nothing(desk, booking):
    pages = [
        (desk(money_back.Cancel(), booking), {}),
        (desk(money_back.ReturnTickets(), booking), {"numbers": ["2"], "refund": "price"}),
        (desk(money_back.GiveMoneyBack(), booking), {"amount": "1"}),
    ]
    for page, _ in pages:
        page.read()
    return_tickets(booking, 1, numbers=[1], key=uuid.uuid4(), now=timezone.now())
    seen = now_of(booking).as_seen
    for page, typed in pages:
        said = page.send(reason="x", **typed)
        assert "Nothing was done. This has changed since the page was drawn." in said
        assert page.answer.status_code == 409
    assert now_of(booking).as_seen == seen
    # The page that came back shows it as it is now, and its form is good.
    cancel = pages[0][0]
    cancel.form = cancel.answer.context["form"]
    assert "The booking is cancelled" in cancel.send(reason="x")


@pytest.mark.parametrize(
    ("rate", "answer", "state"),
    [
        (1, "it was paid", "Confirmed, paid"),
        (0, "it was declined", "Failed: payment declined"),
    ],
)
@pytest.mark.parametrize("overdue", [True, False], ids=["overdue", "in-time"])
def test_the_gateway_is_asked_about_a_hold(desk, ann, tier, settings, rate, answer, state, overdue):
    held = hold(wish(ann, tier, 1)).booking
    ends = timezone.now() + timedelta(minutes=0 if overdue else 5)
    Booking.objects.update(outcome_unknown=True, hold_expires_at=ends)
    settings.PAYMENT_SUCCESS_RATE = rate
    ask = desk(payments.AskGateway(), held)
    assert "Simulated payment is asked what became of $10.00." in ask.read()
    said = ask.send()
    assert f"The gateway says that {answer}. The booking is: {state}." in said
    assert f"Asked the gateway: {answer}" in str(LogEntry.objects.get().change_message)
    assert audit() == []


def test_a_payment_that_came_too_late_is_found_and_goes_back(desk, ann, tier):
    hold(wish(ann, tier, 1))
    Booking.objects.update(status="FAILED", payment_status="FAILED", failure_reason="EXPIRED")
    tier.refresh_from_db()
    tier.available_quantity += 1
    tier.save()
    failed = Booking.objects.get()
    ask = desk(payments.AskGateway(), failed)
    assert "If it was paid after all, the money goes back" in ask.read()
    assert "Failed: paid too late, money to be sent back." in ask.send()
    assert Refund.objects.get().reason == "LATE"
    assert audit() == []


def test_a_gateway_that_is_silent_changes_nothing(desk, ann, tier, settings):
    held = hold(wish(ann, tier, 1)).booking
    Booking.objects.update(outcome_unknown=True)
    settings.PAYMENT_LATENCY_MS, settings.PAYMENT_TIME_LIMIT_MS = 5000, 10
    ask = desk(payments.AskGateway(), held)
    ask.read()
    assert "The payment gateway does not answer, so nothing has changed." in ask.send()
    assert now_of(held).status == "PENDING"


def test_the_gateway_is_not_asked_while_a_request_is_at_work_or_when_all_is_known(
    desk, ann, tier, booking
):
    held = hold(wish(ann, tier, 1)).booking
    ask = desk(payments.AskGateway(), held)
    ask.read()
    assert "This booking is being made at this moment." in ask.send()
    assert (
        "Its payment is known: Confirmed, paid."
        in desk(payments.AskGateway(), booking)
        .client.get(payments.AskGateway().address(booking))
        .content.decode()
    )


def test_tickets_are_sent_once_for_each_press(desk, booking):
    mails = Mail.objects.filter(kind="tickets", about=booking.pk)
    send = desk(customers.SendTicketsAgain(), booking)
    for n in range(1, 6):
        assert "ann@example.com gets one more mail with 4 tickets" in send.read()
        assert "The tickets are on their way to ann@example.com." in send.send()
        send.send()
        assert mails.count() == 1 + n
    assert LogEntry.objects.filter(change_message="Sent the tickets again").count() == 5


def test_the_address_is_changed(desk, booking):
    change = desk(customers.ChangeAddress(), booking)
    page = change.read()
    assert "The booking belongs to ann@example.com (in an account)." in page
    assert 'value="Ann"' in page
    for email, sentence in [
        ("no address", "Enter a valid email address."),
        ("", "This field is required."),
        ("ANN@example.com", "The booking goes to this address already."),
    ]:
        assert sentence in change.send(email=email, name="Nora", reason="typo")
    said = change.send(email="Nora@Example.com", name="Nora", reason="typo")
    assert "The booking belongs to nora@example.com now, and the old address is told." in said
    assert now_of(booking).user.email == "nora@example.com"
    assert audit() == []


def test_the_limit_of_the_new_address_is_told(desk, booking, tier):
    tier.max_per_customer = 5
    tier.save()
    place(wish(UserFactory(email="nora@example.com"), tier, 2))
    change = desk(customers.ChangeAddress(), booking)
    change.read()
    said = change.send(email="nora@example.com", name="Nora", reason="typo")
    assert "The new address has 2 tickets of this tier, and may have 5 at most." in said


def test_names_are_written_on_tickets(desk, booking):
    names = desk(customers.NameTickets(), booking)
    names.read()
    said = names.send(ticket_1="Olga", ticket_2="  Igor ", ticket_3="", ticket_4="")
    assert "2 names changed." in said
    assert list(Ticket.objects.order_by("number").values_list("holder_name", flat=True)) == [
        "Olga",
        "Igor",
        "",
        "",
    ]
    stale = names.send(ticket_1="Boris")
    assert "was sent before" in stale
    names.form.fields["once"].initial = uuid.uuid4
    assert "Named who comes with ticket 1, ticket 2" in str(LogEntry.objects.get().change_message)


def test_two_who_name_tickets_do_not_overwrite_each_other(desk, booking):
    one, other = desk(customers.NameTickets(), booking), desk(customers.NameTickets(), booking)
    one.read()
    other.read()
    one.send(ticket_1="Olga")
    assert "This has changed since the page was drawn" in other.send(ticket_1="Boris")
    assert Ticket.objects.get(number=1).holder_name == "Olga"


def test_a_refused_refund_is_sent_again(desk, booking):
    cancel = desk(money_back.Cancel(), booking)
    cancel.read()
    cancel.send(reason="x")
    refund = Refund.objects.get()
    assert (
        "Only a refused refund is sent again."
        in cancel.client.get(payments.SendRefundAgain().address(refund)).content.decode()
    )
    Refund.objects.update(status="FAILED", failure="card closed", sent_at=None)
    again = desk(payments.SendRefundAgain(), refund)
    assert "The gateway refused to send $40.00 back: card closed" in again.read()
    assert "$40.00 is sent again within a minute." in again.send(reason="new card")
    assert Refund.objects.get().status == "DUE"
    assert (
        LogEntry.objects.get(object_id=str(refund.pk)).change_message == "Made due again: new card"
    )


def test_an_alert_is_dismissed_with_a_reason(desk, admin_client):
    event = PaymentEvent.objects.create(gateway="hosted", event_id="1", type="paid", alert="Odd.")
    dismiss = desk(payments.DismissAlert(), event)
    assert "Odd." in dismiss.read()
    assert "This field is required." in dismiss.send(reason="")
    assert "The alert is dismissed." in dismiss.send(reason="looked at it")
    event.refresh_from_db()
    assert event.alert == ""
    assert LogEntry.objects.get().change_message == "Dismissed “Odd.”: looked at it"
    assert admin_client.get(payments.DismissAlert().address(event)).status_code == 409


@pytest.mark.parametrize("verb", CONFIRMED, ids=lambda verb: verb.name)
def test_what_is_not_confirmed_is_refused_with_a_sentence(admin_client, booking, verb):
    Booking.objects.update(status="FAILED", payment_status="FAILED", failure_reason="DECLINED")
    for answer in (
        admin_client.get(verb.address(booking)),
        admin_client.post(verb.address(booking), {"once": uuid.uuid4(), "reason": "x", "seen": ""}),
    ):
        assert answer.status_code == 409
        page = answer.content.decode()
        assert "Failed: payment declined" in page or "Nothing of this booking" in page
    assert now_of(booking).status == "FAILED"


def test_buttons_are_for_staff_who_may_change_bookings(staff_who_may, booking):
    client = staff_who_may("view_booking", "view_tickettier", "view_concert", "view_user")
    page = client.get(f"/admin/bookings/booking/{booking.pk}/change/").content.decode()
    for verb in OF_BOOKINGS:
        assert verb.button not in page
        assert client.get(verb.address(booking)).status_code == 403
        assert client.post(verb.address(booking), {"reason": "x"}).status_code == 403
    client = staff_who_may("view_booking", "change_booking")
    page = client.get(f"/admin/bookings/booking/{booking.pk}/change/").content.decode()
    for verb in CONFIRMED:
        assert verb.button in page
