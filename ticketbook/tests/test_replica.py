"""Only a replica of our primary is read, only by those who may, and nothing is decided by it."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpRequest

from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.replica import reading
from ticketbook.replica.base import Said, why_unfit
from ticketbook.replica.lag import Cluster, Mark, Marks
from ticketbook.replica.rest import Rest, rest
from ticketbook.replica.router import WriteWhileReading
from ticketbook.tests.running import User, free_port, manage, wait_until

database = pytest.mark.django_db(transaction=True)
OURS = Cluster(1, 2)


def a(method="GET", **cookies):
    request = HttpRequest()
    request.method, request.COOKIES = method, cookies
    return request


def read_by(request):
    """Which database the concert is read from for this request."""
    return reading.read(request, lambda: Concert.objects.get()._state.db)


@pytest.fixture
def fit(replica):
    """A replica that is read."""
    TicketTierFactory()
    replica.catch_up()
    wait_until(lambda: read_by(a()) == "replica")
    return replica


# --- Who may read there -------------------------------------------------------------------------


@database
def test_only_a_get_outside_of_a_transaction_reads_there(fit):
    assert read_by(a("HEAD")) == "replica"
    assert {read_by(a(method)) for method in ("POST", "PUT", "PATCH", "DELETE")} == {"default"}
    with transaction.atomic():
        assert read_by(a()) == "default"
    assert read_by(a(fresh="1")) == "default"


@database
def test_nobody_reaches_it_by_another_way(fit):
    for reach in (
        lambda: Concert.objects.using("replica").count(),
        lambda: connections["replica"].cursor(),
        lambda: Concert(name="x").save(using="replica"),
    ):
        with pytest.raises(RuntimeError, match=r"Only ticketbook\.replica\.reading"):
            reach()


@database
@pytest.mark.parametrize(
    "write",
    [
        lambda: Concert.objects.update(name="x"),
        lambda: Concert.objects.all().delete(),
        lambda: Concert.objects.get().save(),
        lambda: ConcertFactory(),
        lambda: TicketTier.objects.bulk_create([TicketTier()]),
        lambda: list(TicketTier.objects.all().locked()),
        lambda: list(TicketTier.objects.select_for_update()),
        lambda: Concert.objects.get_or_create(name="x"),
    ],
)
def test_a_reading_writes_and_locks_nothing(fit, write):
    with pytest.raises(WriteWhileReading):
        reading.read(a(), write)
    assert Concert.objects.get().name != "x"


@database
def test_the_connection_itself_is_read_only(standby, use_replica):
    use_replica(connection.get_connection_params()["port"])  # a server that would write
    TicketTierFactory()
    alias = connections["replica"]
    alias.ensure_connection()
    with alias.open(1), pytest.raises(DatabaseError, match="read-only"):
        alias.cursor().execute("UPDATE concerts_concert SET name = 'x'")
    assert Concert.objects.get().name != "x"


@database
def test_a_row_from_the_replica_is_followed_and_saved_at_the_primary(fit):
    tier = reading.read(a(), lambda: TicketTier.objects.get())
    assert tier._state.db == "replica"
    assert tier.concert._state.db == "default"
    tier.price = 7
    tier.save()
    assert TicketTier.objects.get().price == 7


@database
def test_what_decides_who_somebody_is_comes_from_the_primary(fit):
    def databases():
        return {m._meta.label: m.objects.db for m in apps.get_models() if hasattr(m, "objects")}

    used = reading.read(a(), databases)
    assert {label for label, alias in used.items() if alias == "replica"} >= {
        "concerts.Concert",
        "bookings.Booking",
    }
    for label in ("accounts.User", "accounts.Session", "auth.Permission", "knox.AuthToken"):
        assert used.get(label, "default") == "default"


# --- Mistakes in REPLICA_URL --------------------------------------------------------------------


@database
def test_a_replica_that_is_ours_has_no_problem(fit, capsys):
    assert reading.problem() == ""
    call_command("check", databases=["default"])
    assert "W002" not in capsys.readouterr().err


def is_refused(caplog, capsys):
    """Nothing is read there; the log says why once, and `check` says the same. Returns the sentence."""
    TicketTierFactory()
    assert [read_by(a()) for _ in range(3)] == ["default"] * 3
    (line,) = [each.message for each in caplog.records]
    sentence = line.removesuffix(" Reading from the primary.")
    call_command("check", databases=["default"])
    assert f"(ticketbook.W002) {sentence}" in capsys.readouterr().err
    return sentence


@database
def test_the_primary_itself_is_no_replica(use_replica, caplog, capsys):
    use_replica(connection.get_connection_params()["port"])
    assert is_refused(caplog, capsys).startswith("REPLICA_URL names the primary itself")


@database
def test_another_database_of_the_replica_is_refused(standby, use_replica, caplog, capsys):
    use_replica(standby.port, "postgres")
    assert "another database than DATABASE_URL" in is_refused(caplog, capsys)


@database
def test_a_server_of_another_cluster_is_refused(use_replica, data_dir, caplog, capsys):
    with User(data_dir) as other:
        params = {"USER": other.params["user"], "PASSWORD": other.params["password"]}
        use_replica(other.params["port"], "ticketbook", **params)
        assert is_refused(caplog, capsys) == "REPLICA_URL names a server of another cluster."
        connections["replica"].close()


@database
def test_where_nobody_answers_the_primary_does(use_replica, caplog, capsys):
    use_replica(free_port())
    TicketTierFactory()
    assert [read_by(a()) for _ in range(3)] == ["default"] * 3
    assert len(caplog.records) == 1
    assert reading.problem().startswith("The server that REPLICA_URL names does not answer (")


@database
def test_a_replica_that_answers_and_fails_is_left_alone(fit, caplog):
    def fails_there():
        if reading.is_reading():
            list(Concert.objects.extra(where=["no_such_column = 1"]))
        return "read"

    assert [reading.read(a(), fails_there) for _ in range(5)] == ["read"] * 5
    wait_until(lambda: reading.read(a(), fails_there) and rest._seconds > 1)  # it failed again
    assert [line.message for line in caplog.records] == [
        "The replica fails (UndefinedColumn). Reading from the primary."
    ]


def test_a_replica_that_is_ahead_of_the_primary_follows_another_one():
    said = Said(at=10, wal=100, cluster=OURS, follows=True)
    assert why_unfit(said, Mark(10, 100, OURS)) == ""
    assert "ahead of the primary" in why_unfit(said, Mark(10, 99, OURS))
    assert why_unfit(said, Mark(9, 99, OURS)) == ""  # the primary has written since


@pytest.mark.parametrize(
    ("replica", "sentence"),
    [
        ("mysql://db/x", "REPLICA_URL must name a PostgreSQL server"),
        ("postgres://ann:hush@db:5432/x", "REPLICA_URL names the same server and database as"),
    ],
)
def test_a_url_that_can_never_be_right_stops_the_start(replica, sentence):
    done = manage(
        "check",
        DATABASE_URL="postgres://bob:hush@db:5432/x",
        SECRET_KEY="x",
        REPLICA_URL=replica,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert "hush" not in done.stderr


# --- The lag ------------------------------------------------------------------------------------


def test_a_replica_is_as_old_as_the_last_mark_that_it_has_reached(settings):
    settings.REPLICA_MAX_LAG = 2
    marks = Marks()
    for at in range(100, 110):
        marks.add(Mark(at, wal=10 * at, cluster=OURS))
    assert marks.covered(1090) == 109
    assert marks.covered(1089) == 108
    assert marks.covered(1000) == float("-inf")  # too long ago to be kept
    assert marks.needed(109) == 107
    assert marks.is_late(1069, now=109)
    assert not marks.is_late(1070, now=109)


def test_half_a_record_at_the_end_of_the_log_makes_no_replica_late(settings):
    settings.REPLICA_MAX_LAG = 2
    marks = Marks()
    marks.add(Mark(100, 50, OURS, breaks_off=True))
    marks.add(Mark(110, 50, OURS, breaks_off=True))
    assert not marks.is_late(49, now=110)
    marks.add(Mark(111, 51, OURS))
    assert marks.is_late(49, now=113)


def test_after_a_failure_one_request_tries_and_the_rests_grow(monkeypatch):
    now = 100.0
    monkeypatch.setattr("ticketbook.replica.rest.monotonic", lambda: now)
    ours, seconds = Rest(), []
    for _ in range(7):
        ours.failed("It fails.", began=now)
        ours.failed("It fails too.", began=now - 0.5)  # began before, and changes nothing
        begun = now
        while not ours.may_try():
            now += 0.5
        assert not ours.may_try()
        seconds.append(now - begun)
    assert seconds == [1, 2, 4, 8, 16, 30, 30]
    ours.well()
    assert ours.may_try()
    assert ours.may_try()
