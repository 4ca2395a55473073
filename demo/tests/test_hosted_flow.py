"""The whole way of a payment: gunicorn, the payment page and its webhooks, each in processes of their own."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from bookings import tasks
from bookings.audit import audit
from bookings.events import handle_left_over
from bookings.models import Booking, PaymentEvent, Refund
from bookings.resolving import poll, resolve_expired
from bookings.tests.site import at_once, tokens
from concerts.tests.factories import TicketTierFactory
from demo.tests.hosted_site import event
from demo.tests.payment_page import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CONFIRMED = ("CONFIRMED", "SUCCESS", "")
DECLINED = ("FAILED", "FAILED", "DECLINED")
EXPIRED = ("FAILED", "FAILED", "EXPIRED")
REFUNDED = ("FAILED", "REFUNDED", "EXPIRED")
WAITING = ("PENDING", "PENDING", "")
OWED = ("FAILED", "SUCCESS", "EXPIRED")


def state(booking_id):
    row = Booking.objects.values_list("status", "payment_status", "failure_reason")
    return row.get(pk=booking_id)


def becomes(booking_id, expected, seconds=10):
    wait_until(lambda: state(booking_id) == expected, seconds)


def after_its_time():
    return timezone.now() + timedelta(minutes=16)


def run_jobs(task):
    for job in ProcrastinateJob.objects.filter(task_name=f"bookings.tasks.{task}", status="todo"):
        getattr(tasks, task)(**job.args)


def test_a_payment_is_confirmed_by_its_webhook(site, ann, tier, left):
    pk, url = site.begin(ann, tier, 2)
    assert state(pk) == WAITING
    assert left(tier) == 98
    answer = site.press(url, "pay")
    assert answer.location.endswith(f"/bookings/{pk}/payment/")
    becomes(pk, CONFIRMED)
    assert site.ledger().captures()[pk] == Decimal("20.00")
    wait_until(lambda: PaymentEvent.objects.get().handled_at)
    noted = PaymentEvent.objects.get()
    assert (str(noted.key), noted.claim, noted.found, noted.alert) == (
        pk,
        "succeeded",
        "succeeded",
        "",
    )
    assert audit() == []


def test_a_declined_payment_gives_the_tickets_back(site, ann, tier, left):
    pk, url = site.begin(ann, tier, 2)
    site.press(url, "decline")
    becomes(pk, DECLINED)
    assert left(tier) == 100
    assert pk not in site.ledger().captures()
    assert audit() == []


def test_if_the_webhook_is_lost_coming_back_confirms(site, ann, tier):
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        back = site.press(url, "pay").location
        wait_until(lambda: site.wire.about(pk))
    assert state(pk) == WAITING
    status, location, _ = site.browse(ann, back.partition(str(site.port))[2])
    assert (status, location) == (303, f"/bookings/{pk}/")
    assert state(pk) == CONFIRMED


def test_if_nobody_comes_back_the_worker_asks(site, ann, tier):
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        site.press(url, "pay")
        wait_until(lambda: site.wire.about(pk))
    assert poll(now=timezone.now() + timedelta(seconds=50)) == []
    assert state(pk) == WAITING
    assert len(poll(now=timezone.now() + timedelta(seconds=61))) == 1
    assert state(pk) == CONFIRMED


def test_if_nobody_asks_before_the_time_is_over_the_payment_is_found_then(site, ann, tier, left):
    pk, url = site.begin(ann, tier)
    with site.wire.loses_everything():
        site.press(url, "pay")
        wait_until(lambda: site.wire.about(pk))
    resolve_expired(now=after_its_time())
    assert state(pk) == CONFIRMED
    assert left(tier) == 99


def test_a_customer_who_closed_the_window_comes_back_and_pays(site, ann, tier):
    pk, url = site.begin(ann, tier)
    assert "Nothing was paid" in site.press(url, "close").text
    status, _, text = site.browse(ann, f"/bookings/{pk}/")
    assert status == 200
    assert f'href="{url}"' in text
    site.press(url, "pay")
    becomes(pk, CONFIRMED)


def test_when_the_time_is_over_the_payment_is_cancelled_and_the_tickets_go_back(
    site, ann, tier, left
):
    pk, url = site.begin(ann, tier, 3)
    assert resolve_expired(now=timezone.now() + timedelta(minutes=14)) == []
    resolve_expired(now=after_its_time())
    assert state(pk) == EXPIRED
    assert left(tier) == 100
    assert site.ledger().states()[pk] == "cancelled"
    assert "cancelled" in site.press(url, "pay").text
    assert pk not in site.ledger().captures()
    assert audit() == []


def test_money_that_comes_after_the_time_is_sent_back_once(site, ann, tier, left):
    pk, url = site.begin(ann, tier, 3)
    site.press(url, "slow")
    resolve_expired(now=after_its_time())
    becomes(pk, OWED)
    for _ in range(2):
        run_jobs("refund_booking")
        run_jobs("look_for_late_payment")
    assert state(pk) == REFUNDED
    assert site.ledger().captures()[pk] == site.ledger().refunds()[pk] == Decimal("30.00")
    refund = Refund.objects.get()
    assert (refund.reason, refund.status, refund.amount) == ("LATE", "SENT", Decimal("30.00"))
    assert left(tier) == 100
    assert audit() == []


@pytest.mark.parametrize("first", ["the webhook", "the resolver"])
def test_late_money_is_found_without_its_webhook(site, ann, tier, first):
    """Whoever fails the booking first, a job looks for money that comes afterwards."""
    pk, url = site.begin(ann, tier)
    site.press(url, "slow")
    booking = Booking.objects.get(pk=pk)
    if first == "the webhook":
        # The resolver has cancelled the payment, and dies before it has written it down.
        tasks.payments.close_payment(booking)
        becomes(pk, EXPIRED)
        site.wire.broken = True
    else:
        site.wire.broken = True
        resolve_expired(now=after_its_time())
    try:
        wait_until(lambda: pk in site.ledger().captures())
        run_jobs("look_for_late_payment")
        run_jobs("refund_booking")
    finally:
        site.wire.broken = False
    assert state(pk) == REFUNDED
    assert site.ledger().refunds()[pk] == booking.total_price


def test_paying_in_two_windows_takes_the_money_once(site, ann, tier):
    pk, url = site.begin(ann, tier)
    site.press(url, "twice")
    becomes(pk, CONFIRMED)
    assert site.ledger().captures()[pk] == Decimal("10.00")
    assert site.ledger().events(pk) == ["payment.succeeded"]


@pytest.mark.parametrize("by_thread", [False, True], ids=["front", "thread"])
def test_the_same_request_again_gets_the_same_payment(site, ann, tier, left, by_thread):
    key, [token] = uuid.uuid4(), tokens([ann])
    site.by_thread = by_thread
    try:
        answers = [site.book(token, tier, key) for _ in range(2)]
        (_, _, first), (status, headers, again) = answers
        assert status == 202
        assert headers["Idempotent-Replayed"] == "true"
        assert again["nextAction"] == first["nextAction"]
        assert again["nextAction"]["type"] == "redirect"
        site.press(again["nextAction"]["url"], "pay")
        becomes(first["id"], CONFIRMED)
        status, _, body = site.book(token, tier, key)
        assert (status, body["id"], "nextAction" in body) == (201, first["id"], False)
    finally:
        site.by_thread = False
    assert left(tier) == 99


def test_a_race_of_the_same_request_makes_one_payment(site, ann, tier, left):
    key, [token] = uuid.uuid4(), tokens([ann])
    answers = at_once(lambda _: site.book(token, tier, key), 16)
    assert {status for status, _, _ in answers} <= {202, 409}
    assert len({body["nextAction"]["url"] for status, _, body in answers if status == 202}) == 1
    assert left(tier) == 99


def test_a_free_ticket_needs_no_payment_page(site, ann, left):
    tier, [token] = TicketTierFactory(price=0), tokens([ann])
    status, _, body = site.book(token, tier, quantity=2)
    assert (status, body["status"], "nextAction" in body) == (201, "CONFIRMED", False)
    assert body["id"] not in site.ledger().states()
    assert left(tier) == 98


def test_a_server_process_that_is_killed_between_webhook_and_answer_loses_nothing(site, ann, tier):
    """The page gets no answer, and sends the webhook again."""
    pk, url = site.begin(ann, tier)
    # The page is down, so that the handling of the webhook waits for the look-up.
    with site.page_down(), ThreadPoolExecutor() as pool:
        answer = pool.submit(site.tell, event(pk))
        wait_until(lambda: PaymentEvent.objects.filter(handled_at=None).exists())
        for process in site.workers():
            process.kill()
        assert answer.exception() or answer.result()[0] == 503
    site.wait_until_ready()
    site.press(url, "pay")
    becomes(pk, CONFIRMED)
    handle_left_over(now=timezone.now() + timedelta(minutes=2))
    assert not PaymentEvent.objects.filter(handled_at=None).exists()


# --- The payment page is down -------------------------------------------------------------------------


def test_a_payment_that_cannot_be_begun_ends_and_frees_its_tickets(site, ann, tier, left):
    [token] = tokens([ann])
    with site.page_down():
        status, _, body = site.book(token, tier, quantity=2)
        assert (status, body["status"], "nextAction" in body) == (202, "PENDING", False)
        assert resolve_expired(now=timezone.now() + timedelta(seconds=61)) == []
    # The page has got that request by now, and makes a payment that nobody knows.
    resolve_expired(now=timezone.now() + timedelta(seconds=120))
    assert state(body["id"]) == EXPIRED
    assert site.ledger().states()[body["id"]] == "cancelled"
    assert left(tier) == 100


def test_a_page_that_is_down_when_the_time_is_over_keeps_the_tickets_held(site, ann, tier, left):
    pk, url = site.begin(ann, tier)
    with site.page_down():
        assert resolve_expired(now=after_its_time()) == []
        assert state(pk) == WAITING
        assert left(tier) == 99
    site.press(url, "pay")  # and the customer is still in time
    becomes(pk, CONFIRMED)


def test_if_the_page_stays_down_the_tickets_go_back_and_late_money_is_refunded(
    site, ann, tier, left
):
    pk, url = site.begin(ann, tier)
    with site.page_down():
        given_up = timezone.now() + timedelta(minutes=15, seconds=601)
        assert len(resolve_expired(now=given_up)) == 1
        assert state(pk) == EXPIRED
        assert left(tier) == 100
    site.press(url, "pay")
    becomes(pk, OWED)
    run_jobs("refund_booking")
    assert state(pk) == REFUNDED
    assert site.ledger().kept().get(pk) is None


def test_coming_back_while_the_page_is_down_shows_the_booking(site, ann, tier):
    pk, _ = site.begin(ann, tier)
    with site.page_down():
        status, location, _ = site.browse(ann, f"/bookings/{pk}/payment/")
    assert (status, location) == (303, f"/bookings/{pk}/")
    assert state(pk) == WAITING
