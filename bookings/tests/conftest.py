import subprocess
import sys
from collections import Counter
from threading import Barrier

import pytest
from django.conf import settings as project
from django.db import connection, connections
from django.test import Client

from accounts.tests.factories import UserFactory
from bookings import booking_lanes, hot_api
from bookings.placing import place
from bookings.tests import redirecting
from bookings.tests.addresses import address
from bookings.tests.api_client import URL, Api, FrontClient
from bookings.tests.racing import Stepped
from bookings.tests.site import Site
from bookings.tests.wishing import hold, wish
from bookings.tier_transaction import Allocation, LockedTier
from chaos.proxy import Proxy
from concerts.tests.factories import TicketTierFactory
from ticketbook.asgi import application
from ticketbook.postgres import base
from ticketbook.tests.running import environment


@pytest.fixture(params=[True, False], ids=["lanes", "plain"])
def both_modes(request, settings, lanes_need_commits):
    """Run the test with lanes and without: what is promised does not depend on them."""
    settings.BOOKING_LANES = request.param


@pytest.fixture
def count_together(settings, monkeypatch):
    """After `count_together(4)` nobody takes tickets before four requests have counted what customers have.

    Only controls use it. With the real locks, one of the requests waits before it counts.
    """
    settings.BOOKING_LANES = False  # in a lane one thread counts for all
    count = Allocation.count

    def wait_for(requests):
        all_have_counted = Barrier(requests, timeout=30)

        def count_and_wait(allocation, *sent):
            count(allocation, *sent)
            all_have_counted.wait()

        monkeypatch.setattr(Allocation, "count", count_and_wait)

    return wait_for


@pytest.fixture
def impatient():
    """After `impatient("50ms")` all connections, those of lanes too, wait no longer than that for a lock."""
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
def proxy(monkeypatch):
    """All connections of this process go through it."""
    direct = base.DatabaseWrapper.get_connection_params
    port = connection.get_connection_params()["port"]
    proxy = Proxy(lambda: port)
    proxy.start()
    monkeypatch.setattr(
        base.DatabaseWrapper,
        "get_connection_params",
        lambda wrapper: direct(wrapper) | {"port": proxy.port},
    )
    booking_lanes.stop()
    connection.close()
    yield proxy
    monkeypatch.undo()
    proxy.cut_no_more()
    booking_lanes.stop()
    connection.close()
    proxy.stop()


@pytest.fixture
def ann():
    return UserFactory(name="Ann")


@pytest.fixture
def bob():
    return UserFactory(name="Bob")


@pytest.fixture
def staff():
    return UserFactory(email="staff@example.com", is_staff=True)


@pytest.fixture
def empty_queue(transactional_db):
    """No jobs. Django does not flush procrastinate's tables, because it does not manage them."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


@pytest.fixture
def start_worker(tmp_path, empty_queue):
    """Starts a worker that has its data in tmp_path. It is killed in the end."""
    workers = []

    def start(**changes):
        params = connection.get_connection_params()
        url = "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)
        own = {"DATABASE_URL": url, "SECRET_KEY": "only-for-tests", "DATA_DIR": tmp_path}
        worker = subprocess.Popen(
            [sys.executable, "manage.py", "procrastinate", "worker"],
            cwd=project.BASE_DIR,
            env=environment(**own | changes),
            stderr=subprocess.DEVNULL,
        )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def tier():
    return TicketTierFactory()


@pytest.fixture
def as_ann(client, ann):
    client.force_login(ann)
    return client


@pytest.fixture
def our_host(settings):
    """The site has the name that the requests of ticketbook/tests/asgi.py ask for, and no other."""
    settings.ALLOWED_HOSTS = ["testserver"]


@pytest.fixture(params=[Client, FrontClient], ids=["thread", "front"])
def both_ways(request, monkeypatch, our_host):
    """Run the test both ways: Django answers on a thread, and the hot API on the event loop."""
    monkeypatch.setattr(Api, "client_class", request.param)


@pytest.fixture
def api(ann):
    return Api(ann)


@pytest.fixture
def hot(monkeypatch):
    """Counts the booking requests that the hot API has answered (True) or left to Django (False)."""
    answered = Counter()
    real = hot_api.book

    async def count(*args):
        answer = await real(*args)
        answered[answer is not None] += 1
        return answer

    monkeypatch.setitem(application.endpoints, ("POST", URL), count)
    return answered


@pytest.fixture
def page_ledger(settings, lanes_need_commits):
    """The ledger of a gateway with a page of its own, to which payments now go."""
    settings.PAYMENT_GATEWAYS = {redirecting.NAME: redirecting.PATH}
    settings.PAYMENT_DEFAULT = redirecting.NAME
    redirecting.LEDGER.clear()
    return redirecting.LEDGER


@pytest.fixture
def url(request, tier):
    """The address of this kind (`addresses.KINDS`) for the tier's concert."""
    return address(request.param, tier.concert)


@pytest.fixture
def start(ledger):
    """Start a site with these settings."""
    sites = []

    def start(**environment):
        sites.append(Site(**environment))
        return sites[-1].wait_until_ready()

    yield start
    for site in sites:
        site.stop()


@pytest.fixture
def book():
    """Place a booking, by default with a new key and at the present time; returns it."""

    def book(user, tier, quantity=1, *, key=None, now=None):
        return place(wish(user, tier, quantity, key, now=now)).booking

    return book


@pytest.fixture
def take_hold():
    """Make a hold and no charge, as a process that dies in between; returns the booking."""

    def take_hold(user, tier, quantity=1, *, now=None):
        return hold(wish(user, tier, quantity, now=now)).booking

    return take_hold


@pytest.fixture
def left():
    """How many tickets of a tier are available in the database."""

    def left(tier):
        tier.refresh_from_db()
        return tier.available_quantity

    return left


@pytest.fixture
def batches(monkeypatch):
    """A list with one entry for each transaction of a tier: how many wishes and settlements it served."""
    seen = []
    real = LockedTier.serve

    def spy(tier, wishes, settlements=()):
        seen.append((len(wishes), len(settlements)))
        return real(tier, wishes, settlements)

    monkeypatch.setattr(LockedTier, "serve", spy)
    return seen


@pytest.fixture
def no_lane_left_behind(settings):
    """After the test no lane may still have waiters. All payments succeed."""
    settings.PAYMENT_SUCCESS_RATE = 1
    yield
    Stepped.release_all()
    shared = [
        booking_lanes.SETTLEMENTS,
        booking_lanes.TOKENS,
        booking_lanes.KEYS,
        booking_lanes.EVENTS,
    ]
    for lane in (*booking_lanes._tier_lanes.values(), *shared):
        assert not lane.queue, f"{lane} was left with a queue"
