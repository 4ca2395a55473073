"""Which errors end a connection, and what a process does with the others that it has."""

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg import errors as pg

from accounts.tests.factories import UserFactory
from ticketbook.postgres import losing
from ticketbook.postgres.failures import is_busy
from ticketbook.postgres.statements import execute_prepared, one_round_trip

pytestmark = pytest.mark.django_db(transaction=True)


def read_only():
    """Our session becomes one on a standby: what it asks is answered, and no write is taken."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")


def backend():
    connection.ensure_connection()
    return connection.connection.info.backend_pid


def end_session():
    """An administrator, or a failover, ends our session."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend()])
    other.close()


def test_a_connection_that_takes_no_writes_is_closed_at_its_first_write():
    before = backend()
    read_only()
    with pytest.raises(OperationalError) as caught:
        UserFactory()
    assert is_busy(caught.value)
    assert connection.connection is None
    UserFactory()  # on a new one
    assert backend() != before


def test_the_other_connections_of_the_process_are_left_too():
    """They are asked nothing but reads, so they would never notice."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert other.is_usable()
    read_only()
    with pytest.raises(OperationalError):
        UserFactory()
    assert not other.is_usable()
    other.close()
    with other.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert other.is_usable()
    other.close()


def test_a_session_that_was_ended_is_closed_at_the_next_statement():
    end_session()
    with pytest.raises(OperationalError) as caught:
        execute_prepared("SELECT 1", [])
    assert is_busy(caught.value)
    assert connection.connection is None
    assert execute_prepared("SELECT 1", []).fetchone() == (1,)


def test_a_session_that_was_ended_is_closed_after_a_pipeline():
    backend()
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012
        end_session()
        with one_round_trip():
            execute_prepared("SELECT 1", [])
            execute_prepared("SELECT 2", [])
    assert execute_prepared("SELECT 1", []).fetchone() == (1,)


def test_a_block_that_has_caught_the_error_does_not_end_as_if_it_had_been_committed():
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012
        UserFactory(email="ann@example.com")
        end_session()
        with pytest.raises(OperationalError):
            execute_prepared("SELECT 1", [])
    assert execute_prepared("SELECT count(*) FROM accounts_user", []).fetchone() == (0,)


def test_a_statement_prepared_on_the_old_server_is_prepared_on_the_new_one():
    for _ in range(3):
        execute_prepared("SELECT %s::int", [1])
    end_session()
    with pytest.raises(OperationalError):
        execute_prepared("SELECT %s::int", [1])
    assert [execute_prepared("SELECT %s::int", [n]).fetchone() for n in (1, 2)] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        (pg.AdminShutdown, True),
        (pg.CrashShutdown, True),
        (pg.CannotConnectNow, True),
        (pg.IdleSessionTimeout, True),
        (pg.ConnectionFailure, True),
        (pg.ProtocolViolation, True),  # PgBouncer's word for a server that it has lost
        (pg.ReadOnlySqlTransaction, True),
        (pg.LockNotAvailable, False),
        (pg.QueryCanceled, False),
        (pg.UniqueViolation, False),
        (pg.SerializationFailure, False),
        (pg.DiskFull, False),
    ],
)
def test_the_states_that_end_a_connection(state, lost):
    backend()
    with pytest.raises(DatabaseError) as caught, connection.wrap_database_errors:
        raise state("as the server says it")
    assert (connection.connection is None) == lost
    if lost:
        assert is_busy(caught.value)


def test_a_process_that_leaves_a_server_leaves_it_once_for_each_connection():
    backend()
    losing.leave_this_server()
    assert not connection.is_usable()
    connection.close()
    backend()
    assert connection.is_usable()
