import pytest
from django.db import connection, connections

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, payments
from bookings.holding import LockedTier
from bookings.placing import place
from bookings.tests.gateway import running_gateway
from bookings.tests.racing import Stepped
from bookings.tests.wishing import hold, wish
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop


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
    yield gateway_process
    event_loop.run(payments.close())


@pytest.fixture(params=[True, False], ids=["lanes", "plain"])
def both_modes(request, settings, lanes_need_commits):
    """Lanes are an optimisation: whatever is promised holds with and without them."""
    settings.BOOKING_LANES = request.param


@pytest.fixture
def impatient():
    """From now on every connection, those of lanes included, waits for a lock this long: `'50ms'`."""
    options = connections["default"].settings_dict["OPTIONS"]
    usual = options["options"]

    def wait_at_most(limit):
        connect_anew(f"-c lock_timeout={limit}")

    def connect_anew(value):
        options["options"] = value
        booking_lanes.stop()
        connection.close()

    yield wait_at_most
    connect_anew(usual)


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
    """place(), with a new key and the present unless told otherwise; returns the booking."""

    def book(user, tier, quantity=1, *, key=None, now=None):
        return place(wish(user, tier, quantity, key, now=now)).booking

    return book


@pytest.fixture
def take_hold():
    """Only the first step of a booking: the process dies before it charges."""

    def take_hold(user, tier, quantity=1, *, now=None):
        return hold(wish(user, tier, quantity, now=now)).booking

    return take_hold


@pytest.fixture
def left():
    """How many tickets of a tier are available, by the database."""

    def left(tier):
        tier.refresh_from_db()
        return tier.available_quantity

    return left


@pytest.fixture
def batches(monkeypatch):
    """How many wishes and settlements went into each transaction."""
    seen = []
    real = LockedTier.serve

    def spy(tier, wishes, settlements=()):
        seen.append((len(wishes), len(settlements)))
        return real(tier, wishes, settlements)

    monkeypatch.setattr(LockedTier, "serve", spy)
    return seen


@pytest.fixture
def no_lane_left_behind(settings):
    settings.PAYMENT_SUCCESS_RATE = 1
    yield
    Stepped.release_all()
    shared = [booking_lanes.SETTLEMENTS, booking_lanes.TOKENS, booking_lanes.KEYS]
    for lane in (*booking_lanes._tier_lanes.values(), *shared):
        assert not lane.queue, f"{lane} was left with a queue"
