"""A primary that vanishes, stands still or becomes a standby, for real processes that nobody restarts."""

import time

import pytest
from django.db import connection

from bookings.models import Booking
from bookings.tests.site import Site, tokens
from bookings.tests.standby import standby_in, superuser
from chaos.proxy import Proxy
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

RED_WITHIN = 2.0  # seconds, as promised


class Primary:
    """The address of the primary, as a proxy gives it. Processes start with it and keep it."""

    def __init__(self):
        self.ports = {"now": connection.get_connection_params()["port"]}
        self.proxy = Proxy(lambda: self.ports["now"])
        self.proxy.start()

    @property
    def url(self):
        params = connection.get_connection_params() | {"port": self.proxy.port}
        return "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)

    def moves_to(self, port):
        self.ports["now"] = port
        self.proxy.cut_all()


@pytest.fixture(scope="module")
def address(django_db_setup):
    primary = Primary()
    yield primary
    primary.proxy.stop()


@pytest.fixture
def primary(address):
    yield address
    address.moves_to(connection.get_connection_params()["port"])


@pytest.fixture(scope="module")
def one_site(address, gateway_process):
    site = Site(DATABASE_URL=address.url, WEB_CONCURRENCY="1")
    yield site
    site.stop()


@pytest.fixture
def site(one_site, primary, ledger):
    """The same for all tests of this file: each leaves it to a failover, and to the next test."""
    return one_site.wait_until_ready()


def ready(site):
    return site.request("GET", "/readyz")[0] == 200


def is_red_in_time(site):
    """A question that begins RED_WITHIN seconds after the loss, and is answered at once, is told so."""
    time.sleep(
        RED_WITHIN - 1
    )  # an answer may be half a second old, and its question takes a second
    return not ready(site)


def says_busy(answer):
    status, headers, body = answer
    return (status, headers["Retry-After"], body["code"]) == (503, "1", "busy")


def test_nobody_is_restarted_after_a_failover(
    primary, site, start_worker, ann, tier, tmp_path, url_of_worker
):
    """The server behind the address vanishes, a standby takes its place, and is promoted later."""
    (token,) = tokens([ann])
    worker = url_of_worker(start_worker)
    assert site.book(token, tier)[0] == 201
    with standby_in(tmp_path / "standby.log") as standby:
        standby.catch_up()
        primary.moves_to(standby.port)
        assert is_red_in_time(site)
        # It answers, and a new connection is made to it; only writes fail.
        for _ in range(3):
            assert says_busy(site.book(token, tier))
        standby.promote()
        wait_until(lambda: ready(site))
        assert (
            site.book(token, tier)[0] == 201
        )  # and so has each connection of the process been made anew
        with superuser(port=standby.port) as new:
            ((promoted_at,),) = new.execute("SELECT extract(epoch FROM now())").fetchall()
            made = "SELECT count(*) FROM bookings_booking WHERE status = 'CONFIRMED'"
            assert new.execute(made).fetchone() == (2,)
            done = "SELECT count(*) FROM procrastinate_periodic_defers WHERE defer_timestamp > %s"
            wait_until(lambda: new.execute(done, [promoted_at]).fetchone()[0] > 0, 120)
        assert worker.poll() is None
        assert len(site.workers()) == 1
    assert Booking.objects.count() == 1  # the old primary


@pytest.fixture
def url_of_worker(primary, monkeypatch):
    def begin(start_worker):
        worker = start_worker(DATABASE_URL=primary.url)
        wait_until(lambda: _count("procrastinate_periodic_defers") > 0, 120)
        return worker

    return begin


def _count(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def test_a_primary_that_stands_still_turns_readyz_red_and_back(primary, site):
    primary.proxy.stop_passing(up=True, down=True)
    assert is_red_in_time(site)
    assert site.request("GET", "/livez")[0] == 200
    primary.proxy.heal(cut=False)
    wait_until(lambda: ready(site))


def test_a_primary_that_refuses_connections_is_busy_on_every_page(primary, site, ann, tier):
    (token,) = tokens([ann])
    primary.moves_to(1)  # where nobody listens
    assert says_busy(site.book(token, tier))
    assert is_red_in_time(site)
    session = {"Cookie": f"sessionid={'a' * 32}"}
    for path in ("/bookings/", f"/concerts/{tier.concert_id}/", "/admin/", "/accounts/login/"):
        status, headers, _ = site.request("GET", path, **session)
        assert (path, status, headers["Retry-After"]) in {(path, 503, "1"), (path, 200, None)}
    assert site.request("GET", "/bookings/", **session)[0] == 503
    primary.moves_to(connection.get_connection_params()["port"])
    wait_until(lambda: ready(site))
    assert site.book(token, tier)[0] == 201
