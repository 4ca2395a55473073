"""Gateways that answer what they should not, and settings that name them."""

import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured

from bookings import payments
from bookings.events import receive
from bookings.gateways import named
from bookings.gateways.base import ActionNeeded, GatewayUnavailable
from bookings.inbox import left_over
from bookings.models import PaymentEvent
from bookings.tests.redirecting import LEDGER, NAME, SIGNATURE, PageGateway, told
from ticketbook import event_loop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("url", "reference"),
    [
        ("javascript:alert(1)", "pay_1"),
        ("https://pay.example/1\r\nSet-Cookie: a=b", "pay_1"),
        ("https://pay.example/1€", "pay_1"),
        ("https://pay.example/" + "1" * 5000, "pay_1"),
        (None, "pay_1"),
        ("https://pay.example/1", "p" * 256),
        ("https://pay.example/1", "a\0b"),
        ("https://pay.example/1", None),
    ],
)
def test_an_address_that_no_browser_may_be_sent_to_counts_as_no_answer(
    ann, tier, book, page_ledger, both_modes, monkeypatch, url, reference
):
    async def begin(self, **asked):
        return ActionNeeded(url, reference)

    monkeypatch.setattr(PageGateway, "begin", begin)
    booking = book(ann, tier)
    assert (booking.status, booking.outcome_unknown, booking.action_url) == ("PENDING", True, "")


@pytest.mark.parametrize("verb", ["look_up", "cancel"])
def test_a_look_up_that_is_no_outcome_counts_as_no_answer(
    ann, tier, book, page_ledger, monkeypatch, verb
):
    booking = book(ann, tier)

    async def says_it_in_words(self, **asked):
        return "succeeded"

    monkeypatch.setattr(PageGateway, verb, says_it_in_words)
    with pytest.raises(GatewayUnavailable):
        payments.close_payment(booking)


@pytest.mark.parametrize(
    ("gateways", "sentence"),
    [
        (
            {"bank": "decimal.Decimal"},
            r"The payment gateway bank \(decimal.Decimal\) has no charge",
        ),
        ({"bank": ".foo.Bar"}, "PAYMENT_GATEWAYS: bank='.foo.Bar' cannot be used"),
        ({"cash": "bookings.payments.SimulatedGateway"}, "PAYMENT_GATEWAYS names cash"),
    ],
)
def test_a_gateway_that_cannot_work_stops_the_start(settings, gateways, sentence):
    settings.PAYMENT_GATEWAYS, settings.PAYMENT_DEFAULT = gateways, "simulated"
    with pytest.raises(ImproperlyConfigured, match=sentence):
        named.check()


def test_events_of_a_gateway_that_is_gone_keep_back_no_others(ann, tier, book, page_ledger):
    PaymentEvent.objects.bulk_create(
        PaymentEvent(gateway="gone", event_id=str(n), type="paid") for n in range(100)
    )
    booking = book(ann, tier)
    LEDGER.pay(booking.pk)
    LEDGER.mode = "outage"
    with pytest.raises(Exception, match="did not answer"):
        event_loop.run(receive(NAME, told(booking.pk, id=str(uuid.uuid4())), SIGNATURE))
    event = PaymentEvent.objects.get(gateway=NAME)
    found = left_over(event.received_at.replace(year=2100), gateways=[NAME])
    assert [(gateway, each.id) for gateway, each in found] == [(NAME, event.event_id)]
