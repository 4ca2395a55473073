"""A server that stands still (SIGSTOP), with nothing in between that would cut the sockets."""

import threading
from contextlib import contextmanager

import psutil
import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import User
from bookings import booking_lanes
from bookings.tests.site import Site, tokens
from bookings.tests.standby import standby_in, superuser, synchronous
from ticketbook.embedded.membership import join_as_superuser
from ticketbook.postgres import base, silence
from ticketbook.postgres.failures import is_busy
from ticketbook.postgres.silence import Watch
from ticketbook.tests.running import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

VISITOR = {"Cookie": f"sessionid={'a' * 32}"}


class Server:
    """A primary that only these tests use, with a copy of the tests' database."""

    def __init__(self, standby):
        self.port, self.pid = standby.port, standby.process.pid

    @contextmanager
    def frozen(self):
        postmaster = psutil.Process(self.pid)
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def ask(self, sql):
        with superuser(port=self.port) as db:
            return db.execute(sql).fetchone()[0]


@pytest.fixture(scope="module")
def standby(django_db_setup, tmp_path_factory):
    with standby_in(tmp_path_factory.mktemp("frozen") / "server.log") as standby:
        standby.catch_up()
        standby.promote()
        yield standby


@pytest.fixture
def server(standby, monkeypatch):
    """It has the place of the tests' own server, for this process too."""
    direct = base.DatabaseWrapper.get_connection_params
    monkeypatch.setattr(
        base.DatabaseWrapper,
        "get_connection_params",
        lambda wrapper: direct(wrapper) | {"port": standby.port},
    )
    connect_anew()
    yield Server(standby)
    monkeypatch.undo()
    connect_anew()


def connect_anew():
    booking_lanes.stop()
    connection.close()


class Asking(threading.Thread):
    """Somebody who asks now, and may be answered much later."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self._ask, self.answer = ask, None
        self.start()

    def run(self):
        try:
            self.answer = self._ask()
        except DatabaseError as exc:
            self.answer = exc
        finally:
            connection.close()

    def wait(self):
        self.join(60)
        return self.answer


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


# --- Processes that serve ---------------------------------------------------------------------------------


@pytest.fixture
def site(server, ledger):
    site = Site(WEB_CONCURRENCY="1")
    try:
        yield site.wait_until_ready()
    finally:
        site.stop()


def test_everybody_goes_on_after_a_server_stood_still(server, site, ann, tier, start_worker):
    """Also those whose statements had been sent before. Nobody waits for ever, and nobody is restarted."""
    (token,) = tokens([ann])
    worker = start_worker()
    wait_until(lambda: server.ask("SELECT count(*) FROM procrastinate_periodic_defers"), 120)
    assert site.book(token, tier)[0] == 201
    assert site.request("GET", "/bookings/", **VISITOR)[0] == 302  # so its thread has a connection
    with server.frozen():
        asking = [
            Asking(lambda: site.book(token, tier, timeout=60)),
            Asking(lambda: site.request("GET", "/bookings/", timeout=60, **VISITOR)),
        ]
        answers = [each.wait() for each in asking]
        assert [(answer[0], answer[1]["Retry-After"]) for answer in answers] == [(503, "1")] * 2
        assert site.book(token, tier)[0] == 503
    wait_until(lambda: site.request("GET", "/readyz")[0] == 200)
    assert site.book(token, tier)[0] == 201
    assert site.request("GET", "/bookings/", **VISITOR)[0] == 302
    later = server.ask("SELECT extract(epoch FROM now())")
    since = "SELECT count(*) FROM procrastinate_periodic_defers WHERE defer_timestamp >"
    wait_until(lambda: server.ask(f"{since} {later}"), 120)
    assert worker.poll() is None


# --- In this process --------------------------------------------------------------------------------------


@pytest.fixture
def watch(server, monkeypatch):
    monkeypatch.setattr(silence, "EVERY", 0.1)
    monkeypatch.setattr(silence, "LIMIT", 2)
    watch = Watch()
    yield watch
    watch.stop()
    monkeypatch.setattr(silence, "_silent", False)


@contextmanager
def somebody_waits_for(server):
    """Somebody whose statement reaches the server when it stands still."""
    begin, went_on = threading.Event(), threading.Event()

    def ask():
        execute("SELECT 1")
        begin.set()
        went_on.wait(60)
        return execute("SELECT 2")

    asking = Asking(ask)
    assert begin.wait(60)
    with server.frozen():
        went_on.set()
        yield asking


def test_whoever_waits_for_a_server_that_stands_still_is_told_so(server, watch):
    with somebody_waits_for(server) as asking:
        watch.start()
        assert is_busy(asking.wait())
        connection.close()
        with pytest.raises(DatabaseError) as caught:  # and nobody else begins to wait
            execute("SELECT 1")
        assert is_busy(caught.value)
    wait_until(lambda: not silence.is_silent())
    assert execute("SELECT 1") == 1


def test_of_several_hosts_the_next_one_is_used_while_the_first_stands_still(
    server, watch, monkeypatch
):
    """DATABASE_URL may name several. Here the second one is the tests' own server."""
    here = base.DatabaseWrapper.get_connection_params
    others = join_as_superuser(connection.settings_dict["EMBEDDED_DATA_DIR"])["port"]

    def both(wrapper):
        hosts = {"host": "127.0.0.1,127.0.0.1", "port": f"{server.port},{others}"}
        return here(wrapper) | hosts | {"connect_timeout": 2}

    monkeypatch.setattr(base.DatabaseWrapper, "get_connection_params", both)
    with somebody_waits_for(server) as asking:
        watch.start()
        assert is_busy(asking.wait())
        wait_until(lambda: not silence.is_silent())
        connection.close()
        assert execute("SELECT inet_server_port()") == int(others)


def test_without_the_watch_they_wait_until_it_goes_on(server):
    """The control."""
    with somebody_waits_for(server) as asking:
        asking.join(3)
        assert asking.is_alive()
    assert asking.wait() == 2


def test_who_waits_for_a_server_that_answers_is_not_broken_off(watch, monkeypatch):
    """Neither a long statement nor a COMMIT that waits for its standby."""
    monkeypatch.undo()  # on the tests' own server
    monkeypatch.setattr(silence, "LIMIT", 2)

    def write():
        with transaction.atomic():
            User.objects.create(email="ann@example.com", name="Ann")
        return True

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    connection.close()
    watch.start()
    with superuser() as db, synchronous("nobody"):
        writer = Asking(write)
        wait_until(lambda: db.execute(waiting).fetchone()[0])
        assert execute("SELECT 3 FROM pg_sleep(4)") == 3
        assert writer.is_alive()
    assert writer.wait() is True
