"""The gateway Stripe against an emulator (stripe_server.py). It was never tried against the real service."""

import asyncio
import hashlib
import hmac
import json
import re
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured

from bookings.gateways.base import (
    ActionNeeded,
    BadEvent,
    GatewayUnavailable,
    Outcome,
    RefundRefused,
)
from bookings.gateways.stripe import StripeGateway
from bookings.gateways.stripe_amounts import in_words, to_units
from bookings.tests.stripe_server import SECRET_KEY, Refused, running_stripe
from ticketbook import event_loop
from ticketbook.tests.running import environment, manage, python

WEBHOOK_SECRET = "whsec_test"
RETURN_URL = "https://tickets.example.com/bookings/1/"
LIMIT = 5.0


def new_key(at=None):
    """A UUIDv7, as PostgreSQL makes them for bookings."""
    milliseconds = int((time.time() if at is None else at) * 1000)
    noise = uuid4().int & ~(0xF << 76) & ((1 << 80) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | noise)


@pytest.fixture
def stripe(settings):
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = SECRET_KEY, WEBHOOK_SECRET
    with running_stripe() as (account, address):
        settings.STRIPE_API_BASE = address
        yield account


@pytest.fixture
def gateway(stripe):
    gateway = StripeGateway()
    yield gateway
    event_loop.run(gateway.close())


@pytest.fixture
def key():
    return new_key()


def run(call):
    return event_loop.run(call)


def beginning(
    gateway, key, amount="25.00", *, made_at=None, time_limit=LIMIT, description="2 × Standing"
):
    created_at = datetime.fromtimestamp((key.int >> 80) / 1000 if made_at is None else made_at, UTC)
    return gateway.begin(
        key=key,
        amount=Decimal(amount),
        description=description,
        return_url=RETURN_URL,
        created_at=created_at,
        time_limit=time_limit,
    )


def begin(*args, **kwargs):
    return run(beginning(*args, **kwargs))


def begin_and_pay(stripe, gateway, key, amount="25.00"):
    needed = begin(gateway, key, amount)
    stripe.pay(needed.reference)
    return needed.reference


def look_up(gateway, key, reference="", time_limit=LIMIT):
    return run(gateway.look_up(key=key, reference=reference, time_limit=time_limit))


def cancel(gateway, key, reference="", time_limit=LIMIT):
    return run(gateway.cancel(key=key, reference=reference, time_limit=time_limit))


def refund(gateway, charge_key, reference, amount, *, key=None, time_limit=LIMIT):
    call = gateway.refund(
        key=key or new_key(),
        charge_key=charge_key,
        reference=reference,
        amount=Decimal(amount),
        time_limit=time_limit,
    )
    return run(call)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


# --- Begin ------------------------------------------------------------------------------------------


def test_the_customer_is_sent_to_a_page_of_stripes(stripe, gateway, key):
    needed = begin(gateway, key)
    assert isinstance(needed, ActionNeeded)
    session = stripe.sessions[needed.reference]
    assert needed.url == session["url"]
    assert (session["amount_total"], session["currency"]) == (2500, "usd")
    assert session["client_reference_id"] == str(key)
    [(_, _, given, idempotency_key)] = stripe.made()
    assert idempotency_key == str(key)
    assert given["success_url"] == given["cancel_url"] == RETURN_URL
    assert given["metadata[booking]"] == given["payment_intent_data[metadata][booking]"] == str(key)
    assert given["allowed_payment_method_types[0]"] == "card"


def test_a_second_begin_finds_the_first_payment_and_asks_for_the_same(stripe, gateway, key):
    assert begin(gateway, key) == begin(gateway, key)
    first, second = stripe.made()
    assert first == second
    assert len(stripe.sessions) == 1


def test_two_processes_that_begin_at_once_make_one_payment(stripe, gateway, key):
    async def at_once():
        calls = [beginning(gateway, key) for _ in range(8)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = run(at_once())
    assert len(stripe.sessions) == 1
    needed = {answer for answer in answers if isinstance(answer, ActionNeeded)}
    assert len(needed) == 1
    assert all(isinstance(a, (ActionNeeded, GatewayUnavailable)) for a in answers)


def test_a_begin_whose_answer_was_lost_is_found_by_the_next(stripe, gateway, key):
    stripe.fail_next("lose_answer")
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key)
    [session_id] = stripe.sessions
    assert begin(gateway, key).reference == session_id


def test_begin_after_the_customer_has_paid_says_so(stripe, gateway, key):
    begin_and_pay(stripe, gateway, key)
    assert begin(gateway, key) is Outcome.SUCCEEDED


def test_begin_finds_the_payment_although_the_concert_was_renamed(stripe, gateway, key):
    first = begin(gateway, key)
    assert begin(gateway, key, description="2 × Seated") == first


def test_the_hold_ends_half_an_hour_before_the_session(stripe, gateway, settings):
    """A begin that arrives after the hold cannot make a session, so nobody pays for it."""
    settings.STRIPE_HOLD_SECONDS = 900
    now = time.time()
    in_time, late = new_key(now - 880), new_key(now - 910)
    assert isinstance(begin(gateway, in_time), ActionNeeded)
    with pytest.raises(GatewayUnavailable):
        begin(gateway, late)
    assert len(stripe.sessions) == 1


def test_begin_a_day_later_makes_no_second_session(stripe, gateway, key):
    """By then Stripe has forgotten the idempotency key."""
    begin(gateway, key)
    stripe.clock = lambda: time.time() + 25 * 3600
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key)
    assert len(stripe.sessions) == 1


def test_an_amount_that_stripe_does_not_take_is_declined(stripe, gateway, key):
    assert begin(gateway, key, "0.30") is Outcome.DECLINED
    assert stripe.sessions == {}


# --- Look-up ----------------------------------------------------------------------------------------


@pytest.fixture(params=["by its reference", "by its key"])
def reference_of(request):
    return (
        (lambda needed: needed.reference) if request.param == "by its reference" else lambda _: ""
    )


def test_a_look_up_tells_each_state(stripe, gateway, key, reference_of):
    needed = begin(gateway, key)
    reference = reference_of(needed)
    assert look_up(gateway, key, reference) is Outcome.OPEN
    stripe.pay(needed.reference)
    assert look_up(gateway, key, reference) is Outcome.SUCCEEDED


def test_a_look_up_finds_a_session_that_expired_by_itself(stripe, gateway, key, reference_of):
    reference = reference_of(begin(gateway, key))
    stripe.clock = lambda: time.time() + 3600
    assert look_up(gateway, key, reference) is Outcome.CANCELLED


def test_a_look_up_tells_payments_that_are_settled_later(stripe, gateway, key, reference_of):
    needed, other = begin(gateway, key), begin(gateway, new_key())
    reference = reference_of(needed)
    stripe.pay_by_transfer(needed.reference)
    assert look_up(gateway, key, reference) is Outcome.OPEN
    stripe.transfer_fails(needed.reference)
    assert look_up(gateway, key, reference) is Outcome.DECLINED
    stripe.pay_by_transfer(other.reference)
    stripe.transfer_arrives(other.reference)
    assert look_up(gateway, key, other.reference) is Outcome.SUCCEEDED


def test_a_look_up_of_nothing_finds_nothing_and_changes_nothing(stripe, gateway, key):
    assert look_up(gateway, key) is Outcome.NOT_FOUND
    assert {method for method, *_ in stripe.calls} == {"GET"}
    assert isinstance(begin(gateway, key), ActionNeeded)


def test_a_payment_is_found_among_hundreds(stripe, gateway):
    made_at = int(time.time()) - 60
    stripe.clock = lambda: made_at
    keys = [new_key(made_at) for _ in range(250)]

    async def begin_all():
        for one in keys:
            await beginning(gateway, one)

    run(begin_all())
    stripe.pay(next(iter(stripe.sessions)))
    assert look_up(gateway, keys[0]) is Outcome.SUCCEEDED
    assert look_up(gateway, keys[-1]) is Outcome.OPEN
    assert look_up(gateway, new_key(made_at)) is Outcome.NOT_FOUND


def test_a_payment_that_began_late_in_its_hold_is_found(stripe, gateway):
    key = new_key(time.time() - 800)
    needed = begin(gateway, key)
    stripe.pay(needed.reference)
    assert look_up(gateway, key) is Outcome.SUCCEEDED


def test_a_search_that_is_not_over_in_time_says_nothing(stripe, gateway, key):
    stripe.fail_next("wait")
    with pytest.raises(GatewayUnavailable):
        look_up(gateway, key, time_limit=0.2)


def test_a_reference_of_another_account_is_no_answer(stripe, gateway, key):
    """The secret key was changed. NOT_FOUND would give the tickets of a paid booking back."""
    with pytest.raises(GatewayUnavailable):
        look_up(gateway, key, "cs_test_elsewhere")


# --- Cancel -----------------------------------------------------------------------------------------


def test_a_cancelled_payment_cannot_be_paid(stripe, gateway, key, reference_of):
    needed = begin(gateway, key)
    assert cancel(gateway, key, reference_of(needed)) is Outcome.CANCELLED
    assert stripe.sessions[needed.reference]["status"] == "expired"
    assert cancel(gateway, key, reference_of(needed)) is Outcome.CANCELLED
    assert look_up(gateway, key, reference_of(needed)) is Outcome.CANCELLED
    assert begin(gateway, key) is Outcome.CANCELLED


def test_cancel_says_that_the_customer_was_faster(stripe, gateway, key, reference_of):
    needed = begin(gateway, key)
    stripe.pay(needed.reference)
    assert cancel(gateway, key, reference_of(needed)) is Outcome.SUCCEEDED


def test_a_payment_in_progress_cannot_be_cancelled(stripe, gateway, key):
    needed = begin(gateway, key)
    stripe.pay_by_transfer(needed.reference)
    with pytest.raises(GatewayUnavailable):
        cancel(gateway, key, needed.reference)
    stripe.transfer_fails(needed.reference)
    assert cancel(gateway, key, needed.reference) is Outcome.DECLINED


def test_a_payment_that_was_never_begun_can_be_cancelled_and_not_begun_afterwards(
    stripe, gateway, key
):
    assert cancel(gateway, key) is Outcome.CANCELLED
    assert cancel(gateway, key) is Outcome.CANCELLED
    assert begin(gateway, key) is Outcome.CANCELLED
    assert look_up(gateway, key) is Outcome.CANCELLED
    [barrier] = stripe.sessions.values()
    assert (barrier["mode"], barrier["status"], barrier["amount_total"]) == (
        "setup",
        "expired",
        None,
    )


def test_a_begin_that_is_on_its_way_makes_no_payment_after_the_cancel(stripe, gateway, key):
    """Our process gave up the begin. Its request reaches Stripe after that of the cancel."""
    stripe.fail_next("lose_request")
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key)
    assert cancel(gateway, key) is Outcome.CANCELLED
    assert begin(gateway, key) is Outcome.CANCELLED  # the request that was late
    assert not any(session["mode"] == "payment" for session in stripe.sessions.values())


def test_cancel_does_not_answer_while_stripe_still_works_on_the_begin(stripe, gateway, key):
    stripe.fail_next("wait")
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key, time_limit=0.2)
    with pytest.raises(GatewayUnavailable):
        cancel(gateway, key)
    stripe.go_on.set()
    wait_for(lambda: stripe.sessions)
    [session_id] = stripe.sessions
    assert cancel(gateway, key) is Outcome.CANCELLED
    assert stripe.sessions[session_id]["status"] == "expired"


def test_cancel_does_not_answer_if_the_begin_failed_at_stripe(stripe, gateway, key):
    """Stripe keeps the error under the key, and nobody can tell what the request has done."""
    stripe.fail_next(500)
    for call in (begin, begin, cancel, cancel):
        with pytest.raises(GatewayUnavailable):
            call(gateway, key)


def test_cancel_a_day_later_finds_the_payment(stripe, gateway, key):
    """Stripe has forgotten the key by then, so cancel has to look before it uses it."""
    begin_and_pay(stripe, gateway, key)
    stripe.clock = lambda: time.time() + 25 * 3600
    assert cancel(gateway, key) is Outcome.SUCCEEDED


# --- Refunds ----------------------------------------------------------------------------------------


def test_money_goes_back_in_parts(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    refund(gateway, key, reference, "10.00")
    refund(gateway, key, "", "15.00")
    amounts = [(r["amount"], r["metadata"]["booking"]) for r in stripe.refunds.values()]
    assert amounts == [(1000, str(key)), (1500, str(key))]


def test_a_refund_is_sent_once(stripe, gateway, key):
    reference, refund_key = begin_and_pay(stripe, gateway, key), new_key()
    for _ in range(3):
        refund(gateway, key, reference, "10.00", key=refund_key)
    assert [r["amount"] for r in stripe.refunds.values()] == [1000]


@pytest.mark.parametrize("days", [0, 2], ids=["at once", "when Stripe has forgotten the key"])
def test_a_refund_whose_answer_was_lost_is_sent_once(stripe, gateway, key, days):
    reference, refund_key = begin_and_pay(stripe, gateway, key), new_key()
    stripe.fail_next("lose_answer", "POST /v1/refunds")
    with pytest.raises(GatewayUnavailable):
        refund(gateway, key, reference, "10.00", key=refund_key)
    stripe.clock = lambda: time.time() + days * 24 * 3600
    refund(gateway, key, reference, "10.00", key=refund_key)
    assert [r["amount"] for r in stripe.refunds.values()] == [1000]


def test_two_processes_that_send_a_refund_at_once_send_it_once(stripe, gateway, key):
    """Both have looked for it before either sends it."""
    reference, refund_key = begin_and_pay(stripe, gateway, key), new_key()
    stripe.fail_next("wait", "POST /v1/refunds")
    with pytest.raises(GatewayUnavailable):
        refund(gateway, key, reference, "10.00", key=refund_key, time_limit=0.3)
    with pytest.raises(GatewayUnavailable):
        refund(gateway, key, reference, "10.00", key=refund_key)
    stripe.go_on.set()
    wait_for(lambda: stripe.refunds)
    refund(gateway, key, reference, "10.00", key=refund_key)
    assert [r["amount"] for r in stripe.refunds.values()] == [1000]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("0", "25.01", "greater than"),
        ("20.00", "10.00", "greater than"),
        ("25.00", "1.00", "already"),
    ],
)
def test_more_than_was_paid_is_refused(stripe, gateway, key, first, then, message):
    reference = begin_and_pay(stripe, gateway, key)
    if Decimal(first):
        refund(gateway, key, reference, first)
    with pytest.raises(RefundRefused, match=message):
        refund(gateway, key, reference, then)


def test_a_disputed_payment_is_not_refunded(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    stripe.intents[stripe.sessions[reference]["payment_intent"]]["_disputed"] = True
    with pytest.raises(RefundRefused, match="charged back"):
        refund(gateway, key, reference, "25.00")


@pytest.mark.parametrize(
    ("status", "code"), [(400, "balance_insufficient"), (404, "resource_missing")]
)
def test_a_refusal_that_may_pass_is_tried_again(stripe, gateway, key, monkeypatch, status, code):
    def refuse(given):
        raise Refused("Not now", status=status, code=code)

    reference = begin_and_pay(stripe, gateway, key)
    monkeypatch.setattr(stripe, "create_refund", refuse)
    with pytest.raises(GatewayUnavailable):
        refund(gateway, key, reference, "25.00")
    monkeypatch.undo()
    refund(gateway, key, reference, "25.00")


def test_nothing_is_refunded_of_a_payment_that_was_not_made(stripe, gateway, key):
    needed = begin(gateway, key)
    with pytest.raises(RefundRefused, match="no payment"):
        refund(gateway, key, needed.reference, "25.00")


def test_a_refund_that_the_bank_returned_is_for_staff(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    stripe.refund_status = "failed"
    with pytest.raises(RefundRefused, match=re.escape("25.00 USD (lost or stolen card)")):
        refund(gateway, key, reference, "25.00")


# --- When Stripe does not answer --------------------------------------------------------------------


@pytest.mark.parametrize("fault", [429, 500, 503, "lose_request", "lose_answer", "cut_off", "wait"])
@pytest.mark.parametrize("call", ["begin", "look_up", "cancel", "refund"])
def test_no_answer_is_an_unavailable_gateway(stripe, gateway, fault, call):
    key = new_key()
    reference = begin_and_pay(stripe, gateway, key)
    calls = {
        "begin": lambda: begin(gateway, new_key(), time_limit=0.5),
        "look_up": lambda: look_up(gateway, key, reference, time_limit=0.5),
        "cancel": lambda: cancel(gateway, key, reference, time_limit=0.5),
        "refund": lambda: refund(gateway, key, reference, "1.00", time_limit=0.5),
    }
    stripe.fail_next(fault)
    stripe.fail_next(fault)  # aiohttp itself repeats a GET whose connection was closed
    start = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        calls[call]()
    assert time.monotonic() - start < 3


def test_stripe_is_asked_once_for_each_call(stripe, gateway, key):
    stripe.fail_next(500)
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key)
    assert len(stripe.calls) == 1


def test_a_wrong_secret_key_is_logged_and_is_no_answer(stripe, settings, key, caplog):
    settings.STRIPE_SECRET_KEY = "sk_test_of_somebody_else"
    gateway = StripeGateway()
    with pytest.raises(GatewayUnavailable):
        begin(gateway, key)
    event_loop.run(gateway.close())
    assert "Invalid API Key" in caplog.text
    assert "somebody" not in caplog.text


def test_a_gateway_that_was_closed_can_be_used_again(stripe, gateway, key):
    begin(gateway, key)
    event_loop.run(gateway.close())
    assert look_up(gateway, key) is Outcome.OPEN


# --- Webhooks ---------------------------------------------------------------------------------------


def signature(body, *, secret=WEBHOOK_SECRET, at=None):
    """As https://docs.stripe.com/webhooks#verify-manually describes it, without the library."""
    at = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest},v0=0000"


def read(gateway, body, header=None):
    headers = {"stripe-signature": signature(body) if header is None else header}
    return run(gateway.read_event(body=body, headers=headers, time_limit=LIMIT))


@pytest.mark.parametrize(
    ("kind", "state", "claim"),
    [
        ("completed", {"payment_status": "paid", "status": "complete"}, Outcome.SUCCEEDED),
        ("completed", {"payment_status": "unpaid", "status": "complete"}, None),
        ("expired", {"payment_status": "unpaid", "status": "expired"}, Outcome.CANCELLED),
        ("async_payment_failed", {"payment_status": "unpaid"}, Outcome.DECLINED),
        ("async_payment_succeeded", {"payment_status": "paid"}, Outcome.SUCCEEDED),
    ],
)
def test_events_of_a_session(stripe, gateway, key, kind, state, claim):
    session = stripe.sessions[begin(gateway, key).reference]
    body = stripe.event(f"checkout.session.{kind}", session, **state)
    event = read(gateway, body)
    assert (event.id, event.type) == (json.loads(body)["id"], f"checkout.session.{kind}")
    assert (event.key, event.claim, event.alert) == (key, claim, "")


def test_other_events_claim_nothing(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    intent = stripe.intents[stripe.sessions[reference]["payment_intent"]]
    event = read(gateway, stripe.event("payment_intent.succeeded", intent))
    assert (event.key, event.claim, event.alert) == (key, None, "")
    event = read(gateway, stripe.event("product.created", {"id": "prod_1", "object": "product"}))
    assert (event.key, event.claim, event.alert) == (None, None, "")


def test_sessions_of_another_shop_on_the_same_account_are_not_ours(stripe, gateway, key):
    session = stripe.sessions[begin(gateway, key).reference]
    for metadata in ({}, {"booking": "table for two"}):
        body = stripe.event(
            "checkout.session.completed", session, payment_status="paid", metadata=metadata
        )
        event = read(gateway, body)
        assert (event.key, event.claim) == (None, None)


def test_a_forged_event_is_refused(stripe, gateway, key):
    session = stripe.sessions[begin(gateway, key).reference]
    body = stripe.event("checkout.session.completed", session, payment_status="paid")
    now = int(time.time())
    for header in (
        "",
        "nonsense",
        f"t={now}",
        f"t={now},v1=" + 64 * "0",
        f"t=soon,v1={64 * '0'}",
        signature(body, secret="whsec_another"),
        signature(body).replace(f"t={now}", f"t={now + 1}"),
        signature(body).replace("v1=", "v0="),
    ):
        with pytest.raises(BadEvent):
            read(gateway, body, header)
    with pytest.raises(BadEvent):
        run(gateway.read_event(body=body, headers={}, time_limit=LIMIT))


def test_an_old_event_is_refused(stripe, gateway, key):
    session = stripe.sessions[begin(gateway, key).reference]
    body = stripe.event("checkout.session.expired", session)
    read(gateway, body, signature(body, at=time.time() - 290))
    with pytest.raises(BadEvent):
        read(gateway, body, signature(body, at=time.time() - 310))


def test_an_event_that_was_changed_by_a_byte_is_refused(stripe, gateway, key):
    session = stripe.sessions[begin(gateway, key).reference]
    body = stripe.event("checkout.session.completed", session, payment_status="paid")
    header = signature(body)
    for place in range(0, len(body), 7):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(BadEvent):
            read(gateway, changed, header)
    for changed in (body + b" ", body[:-1], b"", b"\xff" + body):
        with pytest.raises(BadEvent):
            read(gateway, changed, header)


@pytest.mark.parametrize("body", [b"", b"not json", b"{}x", b"\xff\xfe"])
def test_what_is_no_json_is_refused_even_with_our_signature(gateway, body):
    with pytest.raises(BadEvent):
        read(gateway, body)


def dispute(intent, **more):
    return {
        "id": "du_1",
        "object": "dispute",
        "amount": 2500,
        "currency": "usd",
        "reason": "product_not_received",
        "status": "needs_response",
        "payment_intent": intent,
        "metadata": {},
        "evidence_details": {"due_by": 1_800_000_000},
    } | more


def test_staff_are_told_of_a_dispute(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    disputed = dispute(stripe.sessions[reference]["payment_intent"])
    event = read(gateway, stripe.event("charge.dispute.created", disputed))
    assert (event.key, event.claim) == (key, None)
    assert event.alert == (
        "The customer disputes 25.00 USD (product not received). "
        "Answer in Stripe's dashboard by 15 January 2027, 08:00 UTC."
    )
    event = read(gateway, stripe.event("charge.dispute.closed", disputed, status="lost"))
    assert event.alert == "The dispute about 25.00 USD was closed: lost."
    event = read(gateway, stripe.event("charge.dispute.funds_withdrawn", disputed))
    assert event.alert == ""


def test_a_dispute_without_a_deadline_is_told_too(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    disputed = dispute(
        stripe.sessions[reference]["payment_intent"], evidence_details={"due_by": None}
    )
    event = read(gateway, stripe.event("charge.dispute.created", disputed))
    assert event.alert.endswith("Answer in Stripe's dashboard.")


def test_disputes_of_another_shop_are_not_ours(stripe, gateway):
    stripe.intents["pi_other"] = {"id": "pi_other", "object": "payment_intent", "metadata": {}}
    for intent in ("pi_other", None):
        event = read(gateway, stripe.event("charge.dispute.created", dispute(intent)))
        assert (event.key, event.alert) == (None, "")


def test_a_dispute_waits_until_stripe_says_whose_it_is(stripe, gateway, key):
    """The event is not acknowledged, so Stripe sends it again."""
    reference = begin_and_pay(stripe, gateway, key)
    stripe.fail_next(500)
    body = stripe.event(
        "charge.dispute.created", dispute(stripe.sessions[reference]["payment_intent"])
    )
    with pytest.raises(GatewayUnavailable):
        read(gateway, body)
    assert read(gateway, body).key == key


def test_staff_are_told_of_a_refund_that_came_back(stripe, gateway, key):
    reference = begin_and_pay(stripe, gateway, key)
    refund(gateway, key, reference, "10.00")
    [sent] = stripe.refunds.values()
    body = stripe.event(
        "refund.failed", sent, status="failed", failure_reason="expired_or_canceled_card"
    )
    event = read(gateway, body)
    assert event.key == key
    assert event.alert.startswith(
        "Stripe could not send the refund of 10.00 USD (expired or canceled"
    )


# --- Currencies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "units", "words"),
    [
        ("25.00", "USD", 2500, "25.00 USD"),
        ("0.01", "EUR", 1, "0.01 EUR"),
        ("99999999.99", "USD", 9_999_999_999, "99999999.99 USD"),
        ("500.00", "JPY", 500, "500 JPY"),
        ("5.12", "KWD", 5120, "5.120 KWD"),
        ("5.00", "ISK", 500, "5 ISK"),
        ("5.00", "UGX", 500, "5 UGX"),
        ("500.00", "MGA", 500, "500 MGA"),
        ("500.00", "PYG", 500, "500 PYG"),
        ("10.45", "HUF", 1045, "10.45 HUF"),
    ],
)
def test_amounts_in_the_units_of_stripe(amount, currency, units, words):
    assert to_units(Decimal(amount), currency) == units
    assert in_words(units, currency.lower()) == words


@pytest.mark.parametrize(
    ("amount", "currency"), [("500.50", "JPY"), ("5.10", "UGX"), ("5.10", "MGA"), ("1.005", "USD")]
)
def test_a_fraction_that_cannot_be_paid_is_never_rounded(amount, currency):
    with pytest.raises(ValueError, match=f"{amount} {currency}"):
        to_units(Decimal(amount), currency)


def test_a_price_with_a_fraction_in_yen_is_declined_before_stripe_is_asked(
    stripe, gateway, settings, key, caplog
):
    settings.CURRENCY = "JPY"
    assert begin(gateway, key, "500.50") is Outcome.DECLINED
    assert "500.50 JPY" in caplog.text
    assert stripe.calls == []
    reference = begin_and_pay(stripe, gateway, key, "500.00")
    assert stripe.sessions[reference]["amount_total"] == 500
    with pytest.raises(RefundRefused, match=re.escape("0.50 JPY")):
        refund(gateway, key, reference, "0.50")


# --- Set-up -----------------------------------------------------------------------------------------

STRIPE = {
    "PAYMENT_GATEWAYS": "stripe=bookings.gateways.stripe.StripeGateway",
    "PAYMENT_DEFAULT": "stripe",
    "STRIPE_SECRET_KEY": SECRET_KEY,
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "CURRENCY": "USD",
}


def test_a_site_with_stripe_starts(tmp_path):
    done = manage("check", DATA_DIR=tmp_path, **STRIPE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"STRIPE_SECRET_KEY": ""},
            "STRIPE_SECRET_KEY is not set to a value that begins with sk_ or",
        ),
        (
            {"STRIPE_SECRET_KEY": "pk_live_1"},
            "STRIPE_SECRET_KEY is not set to a value that begins with",
        ),
        (
            {"STRIPE_WEBHOOK_SECRET": ""},
            "STRIPE_WEBHOOK_SECRET is not set to a value that begins with",
        ),
        ({"STRIPE_HOLD_SECONDS": "90000"}, "STRIPE_HOLD_SECONDS=90000 is out of range."),
    ],
    ids=str,
)
def test_a_missing_setting_stops_the_start_with_one_sentence(wrong, sentence, tmp_path):
    done = manage("check", DATA_DIR=tmp_path, **STRIPE | wrong)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr
    assert "live_1" not in done.stderr


def test_the_constructor_checks_the_settings_too(settings):
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="STRIPE_SECRET_KEY"):
        StripeGateway()


def without_the_library(tmp_path):
    """A folder before all others in the path, whose `stripe` cannot be imported."""
    (tmp_path / "stripe.py").write_text("raise ModuleNotFoundError('stripe', name='stripe')\n")
    return {"PYTHONPATH": tmp_path, "DATA_DIR": tmp_path / "data"}


def test_without_the_library_one_sentence_says_how_to_install_it(tmp_path):
    done = manage("check", **STRIPE, **without_the_library(tmp_path))
    assert done.returncode == 1
    assert "pip install -r requirements-stripe.txt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_site_without_stripe_needs_no_library(tmp_path):
    done = manage("check", **without_the_library(tmp_path))
    assert done.returncode == 0, done.stderr


IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "ticketbook.settings"
import django
django.setup()
import accounts, bookings, concerts, demo, ticketbook
for app in (accounts, bookings, concerts, demo, ticketbook):
    for module in pkgutil.walk_packages(app.__path__, app.__name__ + "."):
        if ".tests" not in module.name and module.name != "bookings.gateways.stripe":
            importlib.import_module(module.name)
print("stripe" in sys.modules, "bookings.gateways.stripe_amounts" in sys.modules)
"""


def test_nothing_else_imports_stripe(tmp_path):
    process = python("-c", IMPORT_EVERYTHING, env=environment(DATA_DIR=tmp_path))
    stdout, stderr = process.communicate(timeout=60)
    assert stdout.split() == ["False", "True"], stderr
    assert "stripe" in sys.modules  # here, because this file imports it
