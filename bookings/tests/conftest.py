import uuid

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings.placing import hold, place
from bookings.serving import Request
from bookings.tests.gateway import running_gateway
from concerts.tests.factories import TicketTierFactory


@pytest.fixture(scope="session")
def gateway_process(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("gateway") / "ledger.sqlite3") as ledger:
        yield ledger


@pytest.fixture
def ledger(gateway_process, settings):
    """Payments go to a gateway in a process of its own; this reads its ledger and sets its mode."""
    settings.PAYMENT_GATEWAY = "bookings.tests.gateway.HttpGateway"
    gateway_process.mode("approve")
    gateway_process.clear()
    return gateway_process


@pytest.fixture(params=[True, False], ids=["lanes", "plain"])
def both_modes(request, settings):
    """Lanes are an optimisation: whatever is promised holds with and without them."""
    settings.BOOKING_LANES = request.param


@pytest.fixture
def ann():
    return UserFactory(name="Ann")


@pytest.fixture
def bob():
    return UserFactory(name="Bob")


@pytest.fixture
def tier():
    return TicketTierFactory()


@pytest.fixture
def book():
    """place(), with a fresh key and the present unless told otherwise; returns the booking."""

    def book(user, tier, quantity=1, *, key=None, now=None):
        return place(
            user=user,
            ticket_tier_id=tier.pk,
            quantity=quantity,
            idempotency_key=key or uuid.uuid4(),
            now=now or timezone.now(),
        ).booking

    return book


@pytest.fixture
def take_hold():
    """Only the first step of a booking: the process dies before it charges."""

    def take_hold(user, tier, quantity=1, *, now=None):
        request = Request(
            user=user,
            ticket_tier_id=tier.pk,
            quantity=quantity,
            idempotency_key=uuid.uuid4(),
            now=now or timezone.now(),
        )
        return hold(request).booking

    return take_hold


@pytest.fixture
def left():
    """How many tickets of a tier are available, by the database."""

    def left(tier):
        tier.refresh_from_db()
        return tier.available_quantity

    return left
