"""A pooler in transaction mode: what each transaction brings along, and bookings through a real one."""

import shutil
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bench.pgbouncer import MISSING, PROGRAM, pgbouncer, url_of
from bookings import booking_lanes
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.tests.leftovers import resolve_all
from bookings.tests.site import Site, at_once, tokens
from concerts.tests.factories import TicketTierFactory
from ticketbook.embedded.cluster import Cluster
from ticketbook.postgres import clock, pooling
from ticketbook.postgres.statements import execute, execute_prepared, waiting_at_most
from ticketbook.tests.running import manage, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

SHOW = "SELECT current_setting('lock_timeout')"


def shown():
    return execute(SHOW, []).fetchone()[0]


@pytest.fixture
def pooled():
    """Connections of this process act as behind a pooler, and there is none."""
    server = connection.settings_dict
    usual = server["OPTIONS"]
    server["TRANSACTION_SETTINGS"] = {"lock_timeout": "1234ms", "statement_timeout": "0"}
    server["OPTIONS"] = usual | {"prepare_threshold": None, "options": ""}
    connect_anew()
    yield
    del server["TRANSACTION_SETTINGS"]
    server["OPTIONS"] = usual
    connect_anew()


def connect_anew():
    booking_lanes.stop()
    connection.close()


def test_each_transaction_brings_its_settings_and_leaves_none(pooled):
    with connection.cursor() as cursor:
        cursor.execute(SHOW)
        before = cursor.fetchone()
    with transaction.atomic():
        assert shown() == "1234ms"
    assert shown() == "1234ms"  # a statement by itself
    with waiting_at_most(77):
        assert shown() == "77ms"
        with transaction.atomic():
            assert shown() == "77ms"
    with connection.cursor() as cursor:
        cursor.execute(SHOW)
        assert cursor.fetchone() == before


def test_nothing_is_prepared_on_the_server(pooled):
    for _ in range(3):
        execute_prepared("SELECT %s::int", [1])
        list(User.objects.all())
    assert execute("SELECT count(*) FROM pg_prepared_statements", []).fetchone() == (0,)


def test_a_booking_takes_no_more_round_trips(proxy, ledger, tier, book, request):
    def round_trips():
        book(UserFactory(), tier)  # connections are made now
        buyer = UserFactory()
        before = proxy.round_trips
        book(buyer, tier)
        return proxy.round_trips - before

    direct = round_trips()
    request.getfixturevalue("pooled")
    assert round_trips() == direct


CURSORS = "SELECT count(*) FROM pg_cursors WHERE name <> ''"


def test_a_chunk_is_fetched_in_the_same_transaction_as_the_one_before(pooled):
    UserFactory.create_batch(3)
    assert len(list(User.objects.iterator(chunk_size=1))) == 3  # by one statement
    assert execute(CURSORS, []).fetchone() == (0,)
    with transaction.atomic():
        rows = User.objects.iterator(chunk_size=1)
        next(rows)
        assert execute(CURSORS, []).fetchone() == (1,)


def test_a_transaction_that_fails_is_rolled_back(pooled, ann):
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        User.objects.filter(pk=ann.pk).update(name="Anna")
        raise ZeroDivisionError
    with transaction.atomic():
        User.objects.filter(pk=ann.pk).update(email="anna@example.com")
    ann.refresh_from_db()
    assert (ann.name, ann.email) == ("Ann", "anna@example.com")


def test_the_verbs_work_without_sessions(pooled, both_modes, ledger, tier, book, left):
    bookings = [book(UserFactory(), tier) for _ in range(3)]
    cancel(bookings[0], now=clock.now())
    assert left(tier) == 98
    assert Counter(Booking.objects.values_list("status", flat=True)) == {
        "CONFIRMED": 2,
        "CANCELLED": 1,
    }
    assert audit() == []


# --- A real PgBouncer ---------------------------------------------------------------------------------


def direct_url():
    return url_of(connection.get_connection_params())


@contextmanager
def running_pooler(**options):
    # In a folder that the server's user can reach, as the tests' own server is.
    folder = Cluster(connection.settings_dict["EMBEDDED_DATA_DIR"])._new_folder()
    try:
        with pgbouncer(connection.get_connection_params(), folder, **options) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pooler(django_db_setup):
    with running_pooler() as url:
        yield url


@needs_pgbouncer
def test_a_race_through_pgbouncer_sells_each_ticket_once(pooler, ledger, start_worker):
    """Two processes with dozens of connections share five of the server's."""
    environment = {
        "DATABASE_URL": pooler,
        "DATABASE_POOLER": "transaction",
        "DATABASE_DIRECT_URL": direct_url(),
    }
    site = Site(**environment).wait_until_ready()
    try:
        worker = start_worker(**environment, PAYMENT_GATEWAY="bookings.tests.gateway.HttpGateway")
        tiers = TicketTierFactory.create_batch(3, total_quantity=40)
        buyers = tokens(UserFactory.create_batch(60))

        def buy(i):
            return [site.book(buyers[i], tier)[0] for tier in tiers[i % 3 :] + tiers[: i % 3]]

        answers = Counter(status for statuses in at_once(buy, 60) for status in statuses)
        # A busy machine may keep the gateway's answer back. Such a booking is resolved.
        assert (answers[201] + answers[202], answers[409]) == (120, 60)
        resolve_all(now=timezone.now() + timedelta(minutes=10))
        assert Booking.objects.filter(status="CONFIRMED").count() == 120
        assert len(list(ledger.kept())) == 120
        assert audit() == []
        wait_until(lambda: worker.poll() is not None or _worker_listens(), 120)
        assert worker.poll() is None
    finally:
        site.stop()


def _worker_listens():
    with psycopg.connect(direct_url()) as server:
        return server.execute(LISTENING).fetchone()[0] > 0


LISTENING = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%LISTEN%' AND pid <> pg_backend_pid()
"""


@needs_pgbouncer
@pytest.mark.parametrize(
    ("ignored", "sentence"),
    [
        (
            "extra_float_digits,options",
            "DATABASE_URL leads through a pooler that drops the settings",
        ),
        ("extra_float_digits", "DATABASE_URL leads through a pooler that drops the settings"),
    ],
)
def test_a_pooler_that_the_settings_do_not_name_stops_the_start(ignored, sentence):
    with running_pooler(ignored=ignored) as url:
        done = manage("procrastinate", "worker", DATABASE_URL=url, SECRET_KEY="x" * 50)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "DATABASE_POOLER=transaction" in done.stderr
    assert "Traceback" not in done.stderr


@needs_pgbouncer
def test_a_pooler_that_keeps_our_settings_and_shares_connections_is_found(pooler):
    """Poolers other than PgBouncer may pass the settings on."""
    with psycopg.connect(pooler, autocommit=True, prepare_threshold=None) as one:
        assert pooling._is_shared(one, {"conninfo": pooler, "prepare_threshold": None})
    with psycopg.connect(direct_url(), autocommit=True) as one:
        assert not pooling._is_shared(one, {"conninfo": direct_url()})


@needs_pgbouncer
def test_the_direct_address_may_not_lead_through_the_pooler(pooler):
    done = manage(
        *("procrastinate", "worker"),
        DATABASE_URL=pooler,
        DATABASE_DIRECT_URL=pooler,
        DATABASE_POOLER="transaction",
        SECRET_KEY="x" * 50,
    )
    assert done.returncode == 1
    assert "DATABASE_DIRECT_URL leads through a pooler" in done.stderr


def test_a_direct_address_of_another_database_is_refused(settings):
    settings.EMBEDDED, settings.POOLED = False, True
    settings.LOCK_TIMEOUT_MS = 20_000  # as the tests' connections have it
    settings.DATABASE_DIRECT = {}
    assert pooling.pooler_is_as_set() == []
    settings.DATABASE_DIRECT = {"dbname": "postgres"}
    [error] = pooling.pooler_is_as_set()
    assert "names another database" in error.msg
