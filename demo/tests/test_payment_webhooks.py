"""What the payment page tells the merchant, how it gets lost on the way, and what the merchant believes."""

import json
import signal
import time
from uuid import uuid4

import pytest

from bookings.gateways import signatures
from bookings.gateways.base import BadEvent, Outcome
from bookings.gateways.hosted import webhook_secret
from demo.tests.payment_page import running_payment_page, wait_until
from demo.tests.webhook_receiver import receiving
from ticketbook.tests.running import free_port

PAID = "payment.succeeded"


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def run(tmp_path, settings, receiver):
    """Run a payment page that sends its webhooks to the receiver, or elsewhere."""

    def run(webhooks=receiver.url, **changes):
        port = settings.HOSTED_PORT = free_port()
        return running_payment_page(tmp_path / "ledger.sqlite3", webhooks, port, **changes)

    return run


def test_each_change_is_told_and_signed(run, receiver, merchant):
    told = {}
    with run() as page:
        for button, outcome in (("pay", Outcome.SUCCEEDED), ("decline", Outcome.DECLINED)):
            page.press(merchant.begin(key := uuid4()), button)
            told[key] = outcome
        merchant.cancel(key := uuid4())
        told[key] = Outcome.CANCELLED
        wait_until(lambda: len(receiver.received) == 3)
        wait_until(lambda: page.ledger().pending_webhooks() == 0)
    events = [merchant.read_event(headers, body) for headers, body in receiver.received]
    assert {event.key: event.claim for event in events} == told
    assert len({event.id for event in events}) == 3


def test_a_webhook_that_is_refused_comes_again_with_a_fresh_signature(run, receiver, merchant, key):
    receiver.answers = [500, 302]
    with run() as page:
        page.press(merchant.begin(key), "pay")
        wait_until(lambda: len(receiver.received) == 3)
    assert len(set(receiver.ids())) == 1
    assert len({headers["x-payment-signature"] for headers, _ in receiver.received}) == 3
    assert all(merchant.read_event(*received).key == key for received in receiver.received)


def test_lost_webhooks_are_never_sent(run, receiver, merchant, key):
    with run(HOSTED_WEBHOOK_LOSS_RATE=1) as page:
        page.press(merchant.begin(key), "pay")
        time.sleep(0.3)
        assert page.ledger().pending_webhooks() == 0
    assert receiver.received == []


def test_doubled_webhooks_come_twice_under_one_id(run, receiver, merchant, key):
    with run(HOSTED_WEBHOOK_DOUBLE_RATE=1) as page:
        page.press(merchant.begin(key), "pay")
        wait_until(lambda: len(receiver.received) == 2)
        wait_until(lambda: page.ledger().pending_webhooks() == 0)
    assert len(receiver.received) == 2
    assert len(set(receiver.ids())) == 1


def test_a_webhook_may_come_after_the_next_one(run, receiver, merchant, key):
    with run(HOSTED_WEBHOOK_REORDER_RATE=1) as page:
        payment = merchant.begin(key)
        page.press(payment, "slow")
        merchant.cancel(key)
        wait_until(lambda: len(receiver.received) == 2)
    assert receiver.told() == [(str(key), PAID), (str(key), "payment.cancelled")]


def test_a_webhook_that_nobody_follows_comes_two_seconds_late(run, receiver, merchant, key):
    with run(HOSTED_WEBHOOK_REORDER_RATE=1) as page:
        page.press(merchant.begin(key), "pay")
        start = time.monotonic()
        wait_until(lambda: receiver.received)
    assert 1.5 < time.monotonic() - start < 4


def test_a_webhook_may_be_late(run, receiver, merchant, key):
    with run(HOSTED_WEBHOOK_DELAY_MS=500) as page:
        payment = merchant.begin(key)
        start = time.monotonic()
        page.press(payment, "pay")
        wait_until(lambda: receiver.received)
    assert time.monotonic() - start >= 0.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_pending_webhooks_survive_a_restart(run, receiver, merchant, number):
    keys = [str(uuid4()) for _ in range(3)]
    with run(webhooks=f"http://127.0.0.1:{free_port()}/") as page:
        for key in keys:
            page.press(merchant.begin(key), "pay")
        page.stop(number)
        assert page.ledger().pending_webhooks() == 3
    with run() as page:
        wait_until(lambda: page.ledger().pending_webhooks() == 0)
        assert set(page.ledger().captures()) == set(keys)
    assert sorted(receiver.told()) == sorted((key, PAID) for key in keys)


def test_a_slow_bank_survives_a_restart(run, receiver, merchant, key):
    with run() as page:
        page.press(merchant.begin(key), "slow")
        merchant.cancel(key)
        page.stop(signal.SIGKILL)
    with run():
        wait_until(lambda: (str(key), PAID) in receiver.told())
        assert merchant.look_up(key) is Outcome.SUCCEEDED


def test_a_hundred_webhooks_that_fail_do_not_hold_up_the_next(run, receiver, merchant, key):
    receiver.answers = [500] * 100
    with run() as page:
        for _ in range(100):
            merchant.cancel(uuid4())
        wait_until(lambda: not receiver.answers)
        page.press(merchant.begin(key), "pay")
        wait_until(lambda: (str(key), PAID) in receiver.told(), seconds=2)


# --- What the merchant believes -------------------------------------------------------------------


def signed(body, *, at=None, secret=None):
    at = int(time.time()) if at is None else at
    return {"x-payment-signature": signatures.sign(secret or webhook_secret(), body, at)}


def event(**changes):
    fields = {"id": "evt_1", "type": PAID, "key": str(uuid4())} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def test_a_signature_is_as_documented():
    header = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
    assert signatures.sign(b"secret", b"{}", 1_700_000_000) == header
    assert signatures.sign("secret", b"{}", 1_700_000_000) == header


def test_an_event_that_was_changed_is_not_believed(merchant):
    body = event()
    headers = signed(body)
    assert merchant.read_event(headers, body).claim is Outcome.SUCCEEDED
    with pytest.raises(BadEvent, match="does not fit"):
        merchant.read_event(headers, body.replace(b"evt_1", b"evt_2"))


def test_a_time_that_was_changed_is_not_believed():
    old = signatures.sign("secret", b"{}", 1000)
    with pytest.raises(BadEvent, match="does not fit"):
        signatures.verify("secret", old.replace("t=1000", "t=5000"), b"{}", 5000)


def test_an_event_of_somebody_else_is_not_believed(merchant):
    body = event()
    with pytest.raises(BadEvent, match="does not fit"):
        merchant.read_event(signed(body, secret="guessed"), body)


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_a_signature_is_good_for_five_minutes(age):
    header = signatures.sign("secret", b"{}", 10_000)
    signatures.verify("secret", header, b"{}", 10_000 + age)


@pytest.mark.parametrize("age", [-301, 301])
def test_an_old_event_or_one_from_the_future_is_not_believed(merchant, age):
    body = event()
    with pytest.raises(BadEvent, match="too old"):
        merchant.read_event(signed(body, at=int(time.time()) - age), body)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1",
        "v1=" + 64 * "0",
        "t=1,v1=0",
        "t=1,v1=" + 64 * "G",
        "t=-1,v1=" + 64 * "0",
        "t=" + 99 * "1" + ",v1=" + 64 * "0",
        "t=1,v1=" + 64 * "0" + ",v1=" + 64 * "0",
        "t=1,v1=" + 64 * "0" + "\n",
    ],
    ids=str,
)
def test_a_garbled_signature_is_a_bad_event(header):
    with pytest.raises(BadEvent, match="missing or garbled"):
        signatures.verify("secret", header, b"{}", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        event(id=None),
        event(id=""),
        event(id=7),
        event(id="x" * 256),
        event(id="\x00"),
        event(id="\ud800"),
        event(type=None),
        event(type="x" * 101),
        event(key="7"),
        event(key=7),
        event(key=f"{{{uuid4()}}}"),
        event(key=None),
        b'{"id": "evt_1", "type": "payout.paid", "key": null}',
    ],
    ids=lambda body: body[:40],
)
def test_an_event_that_makes_no_sense_is_a_bad_event(merchant, body):
    with pytest.raises(BadEvent):
        merchant.read_event(signed(body), body)


def test_an_event_of_another_type_claims_nothing(merchant):
    read = merchant.read_event(signed(body := event(type="payout.paid", key=None)), body)
    assert (read.type, read.key, read.claim) == ("payout.paid", None, None)
