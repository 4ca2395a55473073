"""The payment page as a merchant and a customer use it: a real process, and the real HostedGateway."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import aiohttp
import pytest

from bookings.gateways.base import ActionNeeded, GatewayUnavailable, Outcome, RefundRefused
from demo.tests.merchant import BOOKING, PRICE
from demo.tests.payment_page import running_payment_page, wait_until
from ticketbook import event_loop
from ticketbook.tests.running import free_port, manage


@pytest.fixture(scope="module")
def page_process(tmp_path_factory):
    with running_payment_page(tmp_path_factory.mktemp("page") / "ledger.sqlite3") as page:
        yield page


@pytest.fixture
def page(page_process, settings):
    settings.HOSTED_PORT = page_process.port
    return page_process


def test_a_payment_is_paid_once(page, merchant, key):
    payment = merchant.begin(key)
    assert merchant.look_up(key) is Outcome.OPEN
    assert page.press(payment, "pay").location == BOOKING
    assert merchant.look_up(key) is Outcome.SUCCEEDED
    again = page.press(payment, "pay")
    assert "cannot be paid again" in again.text
    assert page.ledger().captures()[str(key)] == PRICE
    assert page.ledger().events(key) == ["payment.succeeded"]


def test_a_declined_payment_takes_no_money_then_or_later(page, merchant, key):
    payment = merchant.begin(key)
    assert page.press(payment, "decline").location == BOOKING
    assert merchant.look_up(key) is Outcome.DECLINED
    page.press(payment, "pay")
    assert merchant.begin(key) is merchant.cancel(key) is Outcome.DECLINED
    assert str(key) not in page.ledger().captures()


def test_the_same_key_finds_the_same_payment(page, merchant, key):
    first = merchant.begin(key)
    assert isinstance(first, ActionNeeded)
    assert merchant.begin(key) == first
    page.press(first, "pay")
    assert merchant.begin(key) is Outcome.SUCCEEDED


def test_a_key_is_not_used_for_another_amount(page, merchant, key):
    merchant.begin(key)
    with pytest.raises(GatewayUnavailable):
        merchant.begin(key, amount=PRICE + 1)


def test_a_payment_that_was_never_begun_is_not_found(page, merchant, key):
    assert merchant.look_up(key) is Outcome.NOT_FOUND


def test_a_cancelled_payment_cannot_be_paid(page, merchant, key):
    payment = merchant.begin(key)
    assert merchant.cancel(key) is merchant.cancel(key) is Outcome.CANCELLED
    answer = page.press(payment, "pay")
    assert "cannot be paid any more" in answer.text
    assert "<button" not in answer.text
    assert merchant.look_up(key) is Outcome.CANCELLED
    assert str(key) not in page.ledger().captures()


def test_a_begin_that_comes_after_the_cancel_finds_the_payment_cancelled(page, merchant, key):
    assert merchant.cancel(key) is Outcome.CANCELLED
    assert merchant.begin(key) is Outcome.CANCELLED
    assert merchant.begin(key) is Outcome.CANCELLED
    assert page.ledger().events(key) == ["payment.cancelled"]


def test_a_customer_may_be_faster_than_the_cancel(page, merchant, key):
    page.press(merchant.begin(key), "pay")
    assert merchant.cancel(key) is Outcome.SUCCEEDED
    assert page.ledger().captures()[str(key)] == PRICE


def test_twenty_windows_and_a_cancel_capture_once_or_never(page, merchant):
    for _ in range(5):
        key = uuid4()
        payment = merchant.begin(key)
        with ThreadPoolExecutor(21) as pool:
            for _ in range(20):
                pool.submit(page.press, payment, "pay")
            time.sleep(0.06)  # about as long as the bank takes
            cancelled = pool.submit(merchant.cancel, key).result()
        paid = cancelled is Outcome.SUCCEEDED
        assert merchant.look_up(key) is cancelled
        assert page.ledger().captures().get(str(key)) == (PRICE if paid else None)


def test_two_windows_pay_once(page, merchant, key):
    payment = merchant.begin(key)
    answer = page.press(payment, "twice")
    assert "Second window: already paid" in answer.text
    assert BOOKING in answer.text
    assert page.ledger().captures()[str(key)] == PRICE
    assert page.ledger().events(key) == ["payment.succeeded"]


def test_a_slow_bank_pays_a_second_after_the_cancel(page, merchant, key):
    payment = merchant.begin(key)
    page.press(payment, "slow")
    assert "has not answered yet" in page.press(payment, "pay").text
    assert merchant.look_up(key) is Outcome.OPEN
    assert merchant.cancel(key) is Outcome.CANCELLED
    assert str(key) not in page.ledger().captures()
    wait_until(lambda: merchant.look_up(key) is Outcome.SUCCEEDED)
    assert page.ledger().captures()[str(key)] == PRICE
    assert page.ledger().events(key) == ["payment.cancelled", "payment.succeeded"]


def test_a_closed_window_changes_nothing_and_leads_back(page, merchant, key):
    payment = merchant.begin(key)
    answer = page.press(payment, "close")
    assert "Nothing was paid" in answer.text
    assert f'href="{BOOKING}"' in answer.text
    assert merchant.look_up(key) is Outcome.OPEN
    assert page.press(payment, "pay").location == BOOKING


def test_an_unknown_button_changes_nothing(page, merchant, key):
    page.press(merchant.begin(key), "steal")
    assert merchant.look_up(key) is Outcome.OPEN


def test_a_refund_is_paid_once_for_its_key(page, merchant, key):
    page.press(merchant.begin(key), "pay")
    refund = uuid4()
    for _ in range(2):
        merchant.refund(refund, key, PRICE)
    assert page.ledger().refunds()[str(key)] == PRICE
    assert str(key) not in page.ledger().kept()


def test_refunds_in_part_add_up_to_the_payment_and_no_further(page, merchant, key):
    page.press(merchant.begin(key), "pay")
    merchant.refund(uuid4(), key, Decimal("45.00"))
    with pytest.raises(RefundRefused, match="more than what was paid"):
        merchant.refund(uuid4(), key, Decimal("0.51"))
    merchant.refund(uuid4(), key, Decimal("0.50"))
    with pytest.raises(RefundRefused):
        merchant.refund(uuid4(), key, Decimal("0.01"))
    assert page.ledger().refunds()[str(key)] == PRICE


@pytest.mark.parametrize("button", ["close", "decline", "slow"])
def test_what_was_not_paid_is_not_refunded(page, merchant, key, button):
    page.press(merchant.begin(key), button)
    with pytest.raises(RefundRefused, match="not paid"):
        merchant.refund(uuid4(), key, PRICE)


def test_the_page_says_what_is_paid_and_that_it_is_a_simulation(page, merchant, key):
    payment = merchant.begin(key, description="2 × <b>Ann & Bob</b>", amount=Decimal("1250.00"))
    answer = page.open(payment)
    assert "This is a simulation. No money moves" in answer.text
    assert "2 × &lt;b&gt;Ann &amp; Bob&lt;/b&gt;" in answer.text
    assert "$1,250.00" in answer.text
    assert answer.text.count("<button") == 5
    assert "<script" not in answer.text


def test_a_page_that_is_not_there_says_so(page):
    answer = page.open("pay_nothing")
    assert answer.status == 404
    assert "There is no such payment" in answer.text


def test_its_styles_come_from_the_site(page):
    for name in ("css/tokens.css", "css/site.css", "img/favicon.svg"):
        assert page.open(f"http://127.0.0.1:{page.port}/static/{name}").status == 200


@pytest.mark.parametrize("secret", ["", "Bearer wrong", "Bearer ä"])
def test_only_the_merchant_may_ask(page, key, secret):
    async def ask():
        url = f"http://127.0.0.1:{page.port}/payments/{key}/cancel"
        async with (
            aiohttp.ClientSession(headers={"Authorization": secret}) as session,
            session.post(url) as answer,
        ):
            return answer.status

    assert event_loop.run(ask()) == 401
    assert str(key) not in page.ledger().states()


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": Decimal("0")},
        {"amount": Decimal("-1")},
        {"amount": Decimal("0.001")},
        {"return_url": "javascript:alert(1)"},
        {"return_url": "http://shop.example/\r\nX: y"},
        {"description": ""},
    ],
    ids=str,
)
def test_a_payment_without_sense_is_not_begun(page, merchant, key, wrong):
    with pytest.raises(GatewayUnavailable):
        merchant.begin(key, **wrong)
    assert merchant.look_up(key) is Outcome.NOT_FOUND


def test_a_page_that_is_down_is_unavailable(merchant, key, settings):
    settings.HOSTED_PORT = free_port()
    for call in (merchant.begin, merchant.look_up, merchant.cancel):
        with pytest.raises(GatewayUnavailable):
            call(key)


def test_a_page_that_does_not_answer_is_unavailable(merchant, key, settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.HOSTED_PORT = silent.getsockname()[1]
        with pytest.raises(GatewayUnavailable):
            merchant.look_up(key, time_limit=0.1)


def test_a_taken_port_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = manage("payment_page", HOSTED_PORT=port, DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"CommandError: Port {port} is in use. Choose another one: HOSTED_PORT=9001"
    )


@pytest.mark.parametrize(
    ("currency", "amount", "accepted"),
    [
        ("USD", "12.50", True),
        ("JPY", "1250.00", True),
        ("JPY", "1250.50", False),
        ("KWD", "12.50", False),
        ("eur", "12.50", False),
        ("XXX", "12.50", False),
    ],
)
def test_an_amount_fits_its_currency(page, merchant, key, settings, currency, amount, accepted):
    settings.CURRENCY = currency
    if accepted:
        assert isinstance(merchant.begin(key, Decimal(amount)), ActionNeeded)
    else:
        with pytest.raises(GatewayUnavailable):
            merchant.begin(key, Decimal(amount))
