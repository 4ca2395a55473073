"""The proxy does to a real PostgreSQL what its methods say."""

import time

import psycopg
import pytest
from django.db import connection

from chaos.proxy import COMMIT, Proxy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def params():
    wanted = {"host", "user", "password", "dbname", "port"}
    found = connection.get_connection_params()
    return {name: found[name] for name in wanted} | {"sslmode": "disable"}


@pytest.fixture
def proxy(params):
    proxy = Proxy(lambda: params["port"])
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def connect(proxy, params):
    opened = []

    def connect():
        opened.append(psycopg.connect(**params | {"port": proxy.port}))
        return opened[-1]

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE chaos_probe (id int)")
    yield connect
    for each in opened:
        each.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE chaos_probe")


def rows():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chaos_probe")
        return cursor.fetchone()[0]


def insert(through):
    through.execute("INSERT INTO chaos_probe VALUES (1)")
    through.commit()


def test_what_passes_is_unchanged(connect):
    insert(connect())
    assert rows() == 1


def test_a_commit_whose_answer_is_lost_is_in_the_database(proxy, connect):
    first = connect()
    proxy.cut_at(COMMIT, 1, answer_lost=True)
    with pytest.raises(psycopg.OperationalError):
        insert(first)
    assert rows() == 1
    assert proxy.cuts_made == 1


def test_a_commit_that_is_cut_before_it_arrives_is_not_in_the_database(proxy, connect):
    first = connect()
    proxy.cut_at(COMMIT, 1, answer_lost=False)
    with pytest.raises(psycopg.OperationalError):
        insert(first)
    assert rows() == 0


def test_only_so_many_commits_are_cut(proxy, connect):
    proxy.cut_at(COMMIT, 2, answer_lost=False)
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            insert(connect())
    insert(connect())
    assert rows() == 1


def test_all_connections_are_cut_and_new_ones_pass(proxy, connect):
    first = connect()
    proxy.cut_all()
    with pytest.raises(psycopg.OperationalError):
        insert(first)
    insert(connect())
    assert rows() == 1


def test_what_was_held_back_arrives_when_the_proxy_is_healed(proxy, connect):
    first = connect()
    proxy.stop_passing(up=True, down=True)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(host="127.0.0.1", port=proxy.port, user="x", connect_timeout=2)
    proxy.heal(cut=False)
    insert(first)
    assert rows() == 1


def test_one_way_the_database_acts_and_nobody_hears_of_it(proxy, connect):
    first = connect()
    first.autocommit = True
    proxy.stop_passing(up=False, down=True)
    first.pgconn.send_query(b"INSERT INTO chaos_probe VALUES (1)")
    first.pgconn.flush()
    deadline = time.monotonic() + 10
    while not rows() and time.monotonic() < deadline:
        time.sleep(0.02)
    proxy.heal(cut=True)
    with pytest.raises(psycopg.OperationalError):
        first.execute("SELECT 1")
    assert rows() == 1


def test_a_slow_database_answers_later(proxy, connect):
    first = connect()
    proxy.delay(0.1)
    began = time.monotonic()
    first.execute("SELECT 1")
    assert time.monotonic() - began > 0.15
