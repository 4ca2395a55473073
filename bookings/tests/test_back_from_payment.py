"""The address to which a payment page sends its customers back, inside this process."""

import pytest
from django.core.cache import cache

from ticketbook.tests.running import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nobody_has_asked():
    cache.clear()


@pytest.fixture
def booking(page_ledger, ann, tier, book):
    return book(ann, tier)


def come_back(client, booking):
    response = client.get(f"/bookings/{booking.pk}/payment/")
    assert (response.status_code, response["Location"]) == (303, f"/bookings/{booking.pk}/")
    booking.refresh_from_db()
    return booking.status


def test_coming_back_asks_the_gateway_and_confirms(as_ann, booking, page_ledger):
    page_ledger.pay(booking.pk)
    assert come_back(as_ann, booking) == "CONFIRMED"


def test_reloading_the_address_asks_the_gateway_once(as_ann, booking, page_ledger):
    for _ in range(5):
        assert come_back(as_ann, booking) == "PENDING"
    assert page_ledger.calls["look_up"] == 1


def test_a_settled_booking_asks_nobody(as_ann, booking, page_ledger):
    page_ledger.pay(booking.pk)
    come_back(as_ann, booking)
    cache.clear()
    come_back(as_ann, booking)
    assert page_ledger.calls["look_up"] == 1


def test_with_a_dead_cache_server_it_works_all_the_same(
    as_ann, booking, page_ledger, use_cache_server
):
    use_cache_server(f"valkey://127.0.0.1:{free_port()}/0")
    page_ledger.pay(booking.pk)
    assert come_back(as_ann, booking) == "CONFIRMED"


def test_with_a_cache_server_all_processes_ask_once(as_ann, booking, page_ledger, valkey):
    for _ in range(3):
        come_back(as_ann, booking)
    assert page_ledger.calls["look_up"] == 1
