"""From the moment a concert is called off nobody keeps a booking for it, and nobody's money stays."""

import threading
import uuid
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.tests.factories import UserFactory
from bookings import calling_off, settling, tasks
from bookings.audit import audit
from bookings.cancelling import cancel, return_tickets
from bookings.errors import SalesClosed
from bookings.gateways.base import ActionNeeded, GatewayUnavailable, Outcome
from bookings.models import Booking, Refund
from bookings.placing import place
from bookings.refunding import give_money_back, hand_over_cash
from bookings.resolving import resolve_expired
from bookings.settling import Settlement, settle
from bookings.tests.api_client import Api
from bookings.tests.racing import Stepped
from bookings.tests.wishing import wish
from bookings.wishes import StaffDecision
from concerts import stock
from concerts.calling_off import call_off, called_off
from concerts.models import Concert
from concerts.tests.factories import TicketTierFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_queue", "both_modes"),
]

NOW = timezone.now()
HOLDS_MARKED, BOOKING_WRITTEN = "AS pending", "UPDATE bookings_booking"


@pytest.fixture(autouse=True)
def _nobody_stays_behind():
    yield
    Stepped.release_all()


@pytest.fixture
def concert(tier):
    return tier.concert


@pytest.fixture
def call(concert, staff):
    """Call the concert off; returns the sentences about it."""
    return lambda: call_off(concert.pk, by=staff, note="The singer is ill.", now=timezone.now())


def reread(booking):
    return Booking.objects.get(pk=booking.pk)


def state(booking):
    booking = reread(booking)
    return booking.status, booking.payment_status


def refunds(booking):
    return [
        tuple(row) for row in booking.refunds.values_list("reason", "tickets", "amount", "status")
    ]


def run_all_jobs(concert):
    for booking in Booking.objects.filter(ticket_tier__concert=concert):
        tasks.refund_booking(str(booking.pk))


# --- Bookings that are confirmed ----------------------------------------------------------------


def test_all_confirmed_bookings_and_their_refunds_change_with_the_concert(
    ledger, ann, bob, tier, concert, staff, book, left, call
):
    vip = TicketTierFactory(concert=concert, tier_type="VIP", price=50)
    whole, part, thanked = book(ann, tier, 4), book(ann, tier, 4), book(bob, vip, 2)
    return_tickets(part, 1, key=uuid.uuid4(), now=NOW)
    give_money_back(thanked, Decimal(30), by=staff, note="", now=NOW)
    other = book(ann, TicketTierFactory())

    [said] = call()

    concert.refresh_from_db()
    assert concert.status == Concert.Status.CANCELLED
    for booking in (whole, part, thanked):
        assert state(booking) == ("CANCELLED", "SUCCESS")
        assert reread(booking).returned_quantity == booking.quantity
    assert refunds(whole) == [("CALLED_OFF", 4, Decimal(40), "DUE")]
    assert refunds(part)[1:] == [("CALLED_OFF", 3, Decimal(30), "DUE")]
    assert refunds(thanked)[1:] == [("CALLED_OFF", 2, Decimal(70), "DUE")]
    assert [r.made_by for r in whole.refunds.all()] == [staff]
    assert whole.returns.get().refund == whole.refunds.get()
    assert (left(tier), left(vip)) == (100, 100)
    assert said == "3 bookings were cancelled, and $140.00 is on its way back."
    assert state(other) == ("CONFIRMED", "SUCCESS")
    assert audit() == []


def test_what_was_free_is_cancelled_and_nothing_is_owed(ledger, ann, tier, staff, call):
    free = StaffDecision(by=staff, source=Booking.Source.HOUSE, gateway="none", note="")
    booking = place(wish(ann, tier, 2, staff=free)).booking
    call()
    assert state(booking) == ("CANCELLED", "REFUNDED")
    assert refunds(booking) == []
    assert booking.returns.get().tickets == 2
    assert audit() == []


def test_what_was_paid_in_cash_is_cancelled_and_owed(ledger, ann, tier, concert, staff, call):
    cash = StaffDecision(by=staff, source=Booking.Source.DOOR, gateway="cash", note="")
    booking = place(wish(ann, tier, 2, staff=cash)).booking
    call()
    assert refunds(booking) == [("CALLED_OFF", 2, Decimal(20), "DUE")]
    tasks.send_refunds_of_concert(str(concert.pk))
    assert state(booking) == ("CANCELLED", "SUCCESS")  # nobody has handed it over
    hand_over_cash(booking, by=staff, now=timezone.now())
    assert state(booking) == ("CANCELLED", "REFUNDED")
    assert audit() == []


def test_it_happens_in_one_transaction_or_not_at_all(ledger, ann, tier, concert, book, left, call):
    booking = book(ann, tier, 3)

    def break_off(**facts):
        raise RuntimeError("the process dies")

    called_off.connect(break_off)
    try:
        with pytest.raises(RuntimeError):
            call()
    finally:
        called_off.disconnect(break_off)
    concert.refresh_from_db()
    assert concert.status == Concert.Status.PUBLISHED
    assert (state(booking), refunds(booking), left(tier)) == (("CONFIRMED", "SUCCESS"), [], 97)
    assert not ProcrastinateJob.objects.exists()


def test_a_second_call_changes_nothing(ledger, ann, tier, book, call):
    booking = book(ann, tier, 3)
    call()
    before = refunds(booking)
    assert call() == ["No booking had to be cancelled."]
    assert refunds(booking) == before
    assert audit() == []


def test_the_history_of_the_concert_says_who_and_why(ledger, ann, tier, concert, book, staff, call):
    book(ann, tier)
    call()
    entry = LogEntry.objects.get(object_id=str(concert.pk))
    assert entry.user == staff
    assert "The singer is ill." in entry.change_message
    assert "1 booking was cancelled" in entry.change_message


# --- Bookings whose payment is not known yet ----------------------------------------------------


def test_a_charge_that_succeeds_meanwhile_is_owed_at_once(ledger, ann, tier, take_hold, call, left):
    booking = take_hold(ann, tier, 2)
    [said] = call()
    assert "1 more waits for a payment" in said
    assert settling.write([Settlement(booking, Outcome.SUCCEEDED, NOW)]) == [False]
    settle(booking, Outcome.SUCCEEDED, now=NOW)
    assert state(booking) == ("CANCELLED", "SUCCESS")
    assert refunds(booking) == [("CALLED_OFF", 2, Decimal(20), "DUE")]
    assert left(tier) == 100
    assert audit() == []


def test_a_booking_whose_charge_is_at_work_ends_cancelled(settings, ann, tier, call, left, concert):
    settings.PAYMENT_GATEWAYS = {"main": "bookings.tests.test_calling_off.SlowGateway"}
    settings.PAYMENT_DEFAULT = "main"
    SlowGateway.meanwhile, SlowGateway.refunded = call, {}
    booking = place(wish(ann, tier, 2)).booking
    assert state(booking) == ("CANCELLED", "SUCCESS")
    assert booking.status == "CANCELLED"
    tasks.refund_booking(str(booking.pk))
    assert state(booking) == ("CANCELLED", "REFUNDED")
    assert SlowGateway.refunded == {booking.pk: Decimal(20)}
    assert left(tier) == 100
    assert audit() == []


class SlowGateway:
    """While it charges, the concert is called off."""

    meanwhile = None
    refunded = {}

    def charge(self, *, key, amount, time_limit):
        type(self).meanwhile()
        connection.close()
        return Outcome.SUCCEEDED

    def look_up(self, *, key, time_limit):
        return Outcome.SUCCEEDED

    def refund(self, *, key, charge_key, amount, time_limit):
        self.refunded[charge_key] = amount


def test_a_replay_says_that_it_was_cancelled(ledger, ann, tier, book, call):
    key = uuid.uuid4()
    book(ann, tier, 2, key=key)
    call()
    response = Api(ann).book(tier, 2, key=key)
    assert response.status_code == 201
    assert response.json()["status"] == "CANCELLED"
    assert response.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("lose_answer", ("CANCELLED", "SUCCESS")), ("lose_request", ("FAILED", "FAILED"))],
)
def test_an_unknown_outcome_is_asked_about_at_once(
    ledger, ann, tier, book, call, left, mode, becomes
):
    ledger.mode(mode)
    booking = book(ann, tier, 2)
    assert booking.status == "PENDING"
    ledger.mode("approve")
    call()
    resolve_expired(now=timezone.now())  # long before the hold would have expired
    assert state(booking) == becomes
    assert len(refunds(booking)) == (mode == "lose_answer")
    assert left(tier) == 100
    assert audit() == []


def test_money_that_comes_after_the_hold_has_failed_goes_back(ledger, ann, tier, take_hold, call):
    booking = take_hold(ann, tier, 2)
    call()
    settle(booking, Outcome.NOT_FOUND, now=NOW)
    settle(booking, Outcome.SUCCEEDED, now=NOW)
    assert state(booking) == ("FAILED", "SUCCESS")
    assert refunds(booking) == [("LATE", 0, Decimal(20), "DUE")]
    assert audit() == []


def test_a_decline_gives_the_tickets_back_once(ledger, ann, tier, take_hold, call, left):
    booking = take_hold(ann, tier, 2)
    call()
    settle(booking, Outcome.DECLINED, now=NOW)
    assert (state(booking), left(tier)) == (("FAILED", "FAILED"), 100)
    assert audit() == []


# --- Payments at a page of the gateway ----------------------------------------------------------


def test_a_payment_page_is_closed_at_once(page_ledger, ann, tier, book, call, left, client):
    booking = book(ann, tier, 2)
    call()
    client.force_login(ann)
    page = client.get(f"/bookings/{booking.pk}/").content.decode()
    assert "Your booking will be cancelled" in page
    assert booking.action_url not in page
    resolve_expired(now=timezone.now())
    assert state(booking) == ("FAILED", "FAILED")
    assert not page_ledger.pay(booking.pk), "the page still took money"
    assert left(tier) == 100
    assert audit() == []


def test_who_has_just_paid_at_the_page_gets_the_money_back(page_ledger, ann, tier, book, call):
    booking = book(ann, tier, 2)
    page_ledger.pay(booking.pk)
    call()
    resolve_expired(now=timezone.now())
    assert state(booking) == ("CANCELLED", "SUCCESS")
    tasks.refund_booking(str(booking.pk))
    assert (state(booking), page_ledger.kept()) == (("CANCELLED", "REFUNDED"), {})
    assert audit() == []


def test_a_page_that_opens_after_that_is_closed_too(page_ledger, ann, tier, take_hold, call):
    booking = take_hold(ann, tier, 2)
    page_ledger.begin(booking.pk, booking.total_price)
    call()
    later = NOW + timedelta(minutes=15)
    action = ActionNeeded("https://pay.example/1", "pay_1")
    assert settling.write([Settlement(booking, None, timezone.now(), later, action)]) == [True]
    assert reread(booking).gateway_reference == "pay_1"
    resolve_expired(now=timezone.now() + timedelta(seconds=1))
    assert state(booking) == ("FAILED", "FAILED")


# --- Races --------------------------------------------------------------------------------------


def test_a_confirmation_that_is_being_written_is_waited_for(ledger, ann, tier, take_hold, call):
    booking = take_hold(ann, tier, 2)

    def confirm():
        with transaction.atomic():
            return settling.write([Settlement(booking, Outcome.SUCCEEDED, NOW)])

    confirming = Stepped(confirm, after=BOOKING_WRITTEN).wait_until_reached()
    calling = Stepped(call).wait_until_blocked_by(confirming)
    assert confirming.finish() == [True]
    assert calling.finish()[0].startswith("1 booking was cancelled")
    assert state(booking) == ("CANCELLED", "SUCCESS")
    assert audit() == []


def test_a_confirmation_that_comes_meanwhile_waits_and_is_cancelled(
    ledger, ann, tier, take_hold, call
):
    booking = take_hold(ann, tier, 2)
    calling = Stepped(call, after=HOLDS_MARKED).wait_until_reached()
    confirming = Stepped(lambda: settling.write([Settlement(booking, Outcome.SUCCEEDED, NOW)]))
    confirming.wait_until_blocked_by(calling)
    calling.finish()
    assert confirming.finish() == [False]
    settle(booking, Outcome.SUCCEEDED, now=NOW)
    assert state(booking) == ("CANCELLED", "SUCCESS")
    assert audit() == []


def test_control_without_the_mark_the_confirmation_would_be_kept(
    ledger, ann, tier, take_hold, call, monkeypatch
):
    """The same race, with holds that are not marked."""
    marking = calling_off.MARK_PENDING.replace("called_off = true, ", "")
    monkeypatch.setattr(calling_off, "MARK_PENDING", marking)
    booking = take_hold(ann, tier, 2)
    calling = Stepped(call, after=HOLDS_MARKED).wait_until_reached()
    confirming = Stepped(lambda: settling.write([Settlement(booking, Outcome.SUCCEEDED, NOW)]))
    confirming.wait_until_blocked_by(calling)
    calling.finish()
    assert confirming.finish() == [True]
    assert state(booking) == ("CONFIRMED", "SUCCESS")
    [difference] = audit()
    assert "it is kept, but the concert was called off" in difference


def test_who_writes_payments_down_gives_way_when_both_wait_for_each_other(
    ledger, ann, tier, take_hold, call, impatient, settings
):
    """A batch of settlements has locked the second hold and wants the first; calling off has the first."""
    first, second = take_hold(ann, tier), take_hold(ann, tier)
    settings.LOCK_TIMEOUT_MS = 500
    impatient("500ms")

    def settle_in_the_other_order():
        with transaction.atomic():
            settling.write([Settlement(second, Outcome.SUCCEEDED, NOW)])
            settling.write([Settlement(first, Outcome.SUCCEEDED, NOW)])

    batch = Stepped(settle_in_the_other_order, after=BOOKING_WRITTEN).wait_until_reached()
    calling = Stepped(call).wait_until_blocked_by(batch)
    assert isinstance(batch.finish(), OperationalError)
    assert "2 more wait for a payment" in calling.finish()[0]
    assert audit() == []


def test_who_waits_for_the_tier_meanwhile_buys_nothing(ledger, ann, tier, book, call, left):
    calling = Stepped(call, after=HOLDS_MARKED).wait_until_reached()
    buying = Stepped(lambda: book(ann, tier, 2)).wait_until_blocked_by(calling)
    calling.finish()
    assert isinstance(buying.finish(), SalesClosed)
    assert left(tier) == 100


def test_a_concert_is_called_off_in_the_middle_of_its_sale(ledger, tier, concert, book, call, left):
    users = UserFactory.create_batch(12)
    answers, calling = Counter(), threading.Event()

    def buy(user):
        try:
            for number in range(8):
                if number == 2:
                    calling.set()
                answers[book(user, tier).status] += 1
        except SalesClosed:
            answers["closed"] += 1
        finally:
            connection.close()

    buyers = [threading.Thread(target=buy, args=[user]) for user in users]
    for buyer in buyers:
        buyer.start()
    assert calling.wait(30)
    call()
    for buyer in buyers:
        buyer.join(60)
    assert answers["closed"] + answers["CONFIRMED"] + answers["CANCELLED"] == answers.total()
    statuses = Counter(Booking.objects.values_list("status", flat=True))
    assert set(statuses) == {"CANCELLED"}
    assert left(tier) == 100
    run_all_jobs(concert)
    assert ledger.kept() == {}
    assert audit() == []


# --- The money goes back ------------------------------------------------------------------------


@pytest.fixture
def sold(ledger, ann, tier, book):
    return [book(ann, tier) for _ in range(25)]


def test_one_job_sends_all_refunds_each_once(ledger, concert, sold, call):
    call()
    jobs = ProcrastinateJob.objects.values_list("task_name", flat=True)
    assert list(jobs) == ["bookings.tasks.send_refunds_of_concert"]
    for _ in range(2):
        tasks.send_refunds_of_concert(str(concert.pk))
    assert {state(booking) for booking in sold} == {("CANCELLED", "REFUNDED")}
    assert ledger.refunded() == {str(booking.pk): Decimal(10) for booking in sold}
    assert audit() == []


def test_a_job_that_breaks_off_goes_on_where_it_was(ledger, concert, sold, call, monkeypatch):
    call()
    real = tasks.send_together

    def die_at_the_second(refunds, **more):
        if Refund.objects.exclude(status="DUE").exists():
            raise SystemExit
        return real(refunds, **more)

    monkeypatch.setattr(tasks, "send_together", die_at_the_second)
    with pytest.raises(SystemExit):
        tasks.send_refunds_of_concert(str(concert.pk))
    assert Refund.objects.due().count() == 5
    monkeypatch.setattr(tasks, "send_together", real)
    tasks.send_refunds_of_concert(str(concert.pk))
    assert ledger.kept() == {}
    assert not Refund.objects.due().exists()


def test_an_outage_of_the_gateway_only_delays_it(ledger, concert, sold, call):
    call()
    ledger.mode("outage")
    with pytest.raises(GatewayUnavailable):
        tasks.send_refunds_of_concert(str(concert.pk))
    assert Refund.objects.due().count() == 25
    ledger.mode("approve")
    tasks.send_refunds_of_concert(str(concert.pk))
    assert ledger.kept() == {}


def test_a_refund_that_is_refused_does_not_stop_the_others(ledger, concert, sold, call):
    call()
    ledger.mode("refuse_refunds")
    tasks.send_refunds_of_concert(str(concert.pk))
    assert set(Refund.objects.values_list("status", flat=True)) == {"FAILED"}


def test_a_lost_job_is_found_by_the_rows(ledger, concert, sold, call):
    call()
    ProcrastinateJob.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE bookings_refund SET created_at = now() - interval '2 minutes'")
    tasks.find_owed_refunds(timestamp=0)
    tasks.find_owed_refunds(timestamp=0)
    assert list(ProcrastinateJob.objects.values_list("task_name", flat=True)) == [
        "bookings.tasks.send_refunds_of_concert"
    ]


# --- Every door ---------------------------------------------------------------------------------


def test_the_api_and_the_pages_show_it_at_once(ledger, ann, tier, concert, book, call, client):
    booking = book(ann, tier, 2)
    call()
    api = Api(ann)
    assert api.client.get(f"/api/v1/concerts/{concert.pk}").json()["status"] == "CANCELLED"
    shown = api.get(f"/{booking.pk}").json()
    assert (shown["status"], shown["concert"]["status"]) == ("CANCELLED", "CANCELLED")
    assert (shown["returnedQuantity"], shown["refundedTotal"]) == (2, "20.00")
    client.force_login(ann)
    assert "Concert called off" in client.get("/bookings/").content.decode()
    page = client.get(f"/bookings/{booking.pk}/").content.decode()
    assert "This concert has been called off." in page
    assert "$20.00 is on its way back to you." in page
    assert "refunded</small>" not in page
    tasks.send_refunds_of_concert(str(concert.pk))
    page = client.get(f"/bookings/{booking.pk}/").content.decode()
    assert "$20.00 was sent back to you." in page


def test_the_customer_who_cancels_too_gets_the_money_once(ledger, ann, tier, book, call, concert):
    booking = book(ann, tier, 2)
    call()
    response = Api(ann).post({}, f"/{booking.pk}/cancellation")
    assert (response.status_code, response.json()["status"]) == (200, "CANCELLED")
    tasks.send_refunds_of_concert(str(concert.pk))
    assert ledger.refunded() == {str(booking.pk): Decimal(20)}
    assert len(refunds(booking)) == 1


def test_staff_call_off_in_the_back_office_for_good(ledger, ann, tier, concert, book, admin_client):
    booking = book(ann, tier, 2)
    page = admin_client.get(f"/admin/concerts/concert/{concert.pk}/change/")
    fields = form_fields(page) | {"status": "CANCELLED"}
    answer = admin_client.post(page.request["PATH_INFO"], fields, follow=True)
    assert "1 booking was cancelled, and $20.00 is on its way back." in answer.content.decode()
    assert state(booking) == ("CANCELLED", "SUCCESS")

    page = admin_client.get(page.request["PATH_INFO"])
    for status in ("PUBLISHED", "DRAFT"):
        answer = admin_client.post(
            page.request["PATH_INFO"], form_fields(page) | {"status": status}
        )
        assert "This concert was called off" in answer.content.decode()
    concert.refresh_from_db()
    assert concert.status == "CANCELLED"
    assert audit() == []


def form_fields(response):
    """What a browser would send back of an admin form and its inlines."""
    form = response.context["adminform"].form
    fields = {bound.html_name: bound.value() for bound in form}
    for name in ("date", "sales_open_at", "sales_close_at"):
        value = fields.pop(name)
        fields[f"{name}_0"] = value.strftime("%Y-%m-%d") if value else ""
        fields[f"{name}_1"] = value.strftime("%H:%M:%S") if value else ""
    for inline in response.context["inline_admin_formsets"]:
        for bound in inline.formset.management_form:
            fields[bound.html_name] = bound.value()
        for tier in inline.formset.forms:
            fields |= {bound.html_name: bound.value() for bound in tier}
    return {name: "" if value is None else value for name, value in fields.items()}


def test_staff_call_off_by_a_command(ledger, ann, tier, concert, book, staff):
    booking, out = book(ann, tier, 2), StringIO()
    why = ["--by", staff.email, "--reason", "The hall burned down."]
    call_command("call_off", str(concert.pk), *why, stdout=out)
    assert "is called off. 1 booking was cancelled" in out.getvalue()
    assert state(booking) == ("CANCELLED", "SUCCESS")
    with pytest.raises(CommandError, match="There is no concert"):
        call_command("call_off", str(uuid.uuid4()), *why)


def test_a_concert_whose_status_was_written_by_hand_is_finished_by_a_job(
    ledger, ann, bob, tier, concert, book, take_hold
):
    confirmed, held = book(ann, tier, 2), take_hold(bob, tier, 1)
    Concert.objects.filter(pk=concert.pk).update(status="CANCELLED")
    assert len(audit()) == 2
    tasks.finish_calling_off(timestamp=0)
    assert state(confirmed) == ("CANCELLED", "SUCCESS")
    settle(held, Outcome.SUCCEEDED, now=NOW)
    assert state(held) == ("CANCELLED", "SUCCESS")
    assert audit() == []


def test_a_busy_tier_leaves_everything_as_it_was(ledger, ann, tier, concert, book, staff, settings):
    booking = book(ann, tier, 2)

    def keep_locked():
        with transaction.atomic():
            stock.lock_tier(tier.pk)
            connection.cursor().execute("SELECT 1")

    holding = Stepped(keep_locked, after="FOR NO KEY UPDATE").wait_until_reached()
    settings.LOCK_TIMEOUT_MS = 25
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("call_off", str(concert.pk), "--by", staff.email, "--reason", "Why not.")
    holding.finish()
    assert state(booking) == ("CONFIRMED", "SUCCESS")


def test_a_concert_whose_bookings_are_all_cancelled_is_not_hidden_from_their_holders(
    ledger, ann, tier, concert, book, admin_client
):
    cancel(book(ann, tier, 2), now=NOW)
    page = admin_client.get(f"/admin/concerts/concert/{concert.pk}/change/")
    answer = admin_client.post(page.request["PATH_INFO"], form_fields(page) | {"status": "DRAFT"})
    assert "cannot be hidden from its customers" in answer.content.decode()
    concert.refresh_from_db()
    assert concert.status == "PUBLISHED"
