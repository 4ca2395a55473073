import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ticketbook.embedded.binaries import binary, server_user
from ticketbook.tests.running import User, environment, lives, manage, postmaster, python

AS_NOBODY: dict[str, Any] = {"user": "nobody", "group": server_user().pw_gid, "extra_groups": []}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what is different for root")

FORKS = """
import os, sys
from pathlib import Path
from ticketbook.embedded import membership
data_dir = Path(sys.argv[1])
membership.join(data_dir)
if os.fork() == 0:
    membership.join(data_dir)
    print("{}", flush=True)
    sys.stdin.read()
else:
    os.set_inheritable(0, False)
    os.close(0)
"""

KEPT = """
import os, sys
os.environ["DATA_DIR"] = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "ticketbook.settings"
import django
django.setup()
from django.db import close_old_connections, connection

def answer():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        value = cursor.fetchone()[0]
    close_old_connections()  # as at the end of a request
    return value

for line in sys.stdin:
    print(answer(), flush=True)
"""


def connect(params: dict[str, Any], **changes: Any) -> psycopg.Connection:
    return psycopg.connect(**{"dbname": "ticketbook"} | params | changes, autocommit=True)


@contextmanager
def replaced(file: Path, text: str | None) -> Iterator[None]:
    """Inside the block the file has this text, or is gone."""
    aside = file.with_suffix(".aside")
    file.rename(aside)
    if text is not None:
        file.write_text(text)
    try:
        yield
    finally:
        aside.replace(file)


def as_superuser(data_dir: Path, user: User) -> dict[str, Any]:
    password = (data_dir / "postgres.superuser-password").read_text()
    return user.params | {"user": "postgres", "password": password}


def complaint(data_dir: Path) -> str:
    """The last line of a process that cannot join."""
    user = User(data_dir)
    with pytest.raises(AssertionError) as refused:
        user.join()
    return str(refused.value).strip().splitlines()[-1]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)], timeout=0)
    while lives(pid):
        os.sched_yield()


# --- The cluster ------------------------------------------------------------------------------


def test_first_join_makes_a_utf8_database_that_wants_a_password(data_dir):
    with User(data_dir) as ann, connect(ann.params) as connection:
        query = (
            "SELECT pg_encoding_to_char(encoding), datlocprovider::text, datlocale FROM pg_database"
        )
        row = connection.execute(query + " WHERE datname = 'ticketbook'").fetchone()
        assert row == ("UTF8", "b", "C.UTF-8")
        assert connection.info.server_version // 10000 == 18
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(ann.params, password="guessed")
        assert (data_dir / "postgres.password").stat().st_mode & 0o777 == 0o600
        assert (data_dir / "postgres").stat().st_mode & 0o777 == 0o700


def test_data_survive_a_stop(data_dir):
    with User(data_dir) as ann, connect(ann.params) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS answer")
        first = postmaster(data_dir)
    assert not lives(first)
    with User(data_dir) as bob, connect(bob.params) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (7,)
        assert postmaster(data_dir) != first


def test_a_database_that_was_dropped_is_made_again(data_dir):
    with (
        User(data_dir) as ann,
        connect(as_superuser(data_dir, ann), dbname="postgres") as connection,
    ):
        connection.execute("DROP DATABASE ticketbook")
    with User(data_dir) as bob, connect(bob.params) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_half_made_cluster_is_thrown_away(open_folder):
    data_dir = open_folder / "half"
    half = data_dir / "postgres.new-half"
    half.mkdir(parents=True)
    with User(data_dir):
        assert not half.exists()
        assert list(data_dir.glob("postgres.new-*")) == []


# --- The application's role ---------------------------------------------------------------------

FORBIDDEN = {
    "a program of the machine": "COPY (SELECT 1) TO PROGRAM 'true'",
    "a file of the machine": "SELECT pg_read_file('/etc/passwd')",
    "a setting of the server": "ALTER SYSTEM SET work_mem = '1MB'",
    "a role": "CREATE ROLE eve SUPERUSER",
    "another database": "CREATE DATABASE eve",
    "an extension that is not trusted": "CREATE EXTENSION pg_stat_statements",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "becoming the superuser": "SET ROLE postgres",
}


def test_the_role_of_the_application_has_no_right_beyond_its_database(data_dir):
    with User(data_dir) as ann, connect(ann.params) as connection:
        for name, statement in FORBIDDEN.items():
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                continue
            pytest.fail(f"It has the right to {name}")


def test_the_role_of_the_application_owns_its_database(data_dir):
    with User(data_dir) as ann, connect(ann.params) as connection:
        for extension in (
            "pg_trgm",
            "unaccent",
        ):  # trusted, so the owner of a database may have them
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
        connection.execute("CREATE SCHEMA own; CREATE TABLE own.thing (); DROP SCHEMA own CASCADE")
        connection.execute("ALTER DATABASE ticketbook SET statement_timeout = 0")
        query = """
            SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,
                pg_get_userbyid(datdba), (SELECT count(*) FROM pg_auth_members WHERE member = r.oid)
            FROM pg_roles r, pg_database WHERE rolname = current_user AND datname = current_database()
        """
        assert connection.execute(query).fetchone() == (False, "ticketbook", 0)


# Makes a cluster as it was before: its superuser is the role of the application, and there is one password.
EARLIER_VERSION = """
import sys
from pathlib import Path
import psycopg
from ticketbook.embedded import cluster
cluster.SUPERUSER = "ticketbook"
cluster._write_password = lambda path: path.write_text("earlier")
made = cluster.Cluster(Path(sys.argv[1]))
made.data_dir.mkdir()
server = made.serve()
made.superuser_file.unlink()
params = {"host": "127.0.0.1", "port": server.port, "user": "ticketbook", "password": "earlier"}
for name in ("ticketbook", "test_ticketbook"):
    with psycopg.connect(dbname="postgres", autocommit=True, **params) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(dbname=name, autocommit=True, **params) as connection:
        connection.execute(sys.argv[2])
server.stop()
"""
THINGS = """
    CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_trgm;
    CREATE TYPE mood AS ENUM ('glad'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN cents AS int;
    CREATE TABLE paid (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n serial, mood mood, price cents);
    CREATE INDEX ON paid (n); CREATE SEQUENCE loose; CREATE VIEW seen AS SELECT n FROM paid;
    CREATE MATERIALIZED VIEW kept AS SELECT n FROM paid;
    CREATE FUNCTION "Twice" (n int, m text DEFAULT 'x') RETURNS int LANGUAGE sql RETURN 2 * n;
    CREATE PROCEDURE nothing() LANGUAGE sql AS '';
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER noted BEFORE INSERT ON paid FOR EACH ROW EXECUTE FUNCTION note();
    CREATE SCHEMA "Other one"; CREATE TABLE "Other one"."Table" (id bigserial);
    CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
    CREATE STATISTICS both_ns (ndistinct) ON id, n FROM paid;
    INSERT INTO paid (mood, price) SELECT 'glad', 5 FROM generate_series(1, 1000)
"""
# What does not belong to the role of the application, but for what the extensions have.
FOREIGN = """
    SELECT relname FROM pg_class WHERE relowner <> %(me)s::regrole AND oid >= 16384
        AND relkind NOT IN ('t', 'i') AND relname NOT LIKE 'pg_stat_statements%%'
    UNION ALL SELECT typname FROM pg_type WHERE typowner <> %(me)s::regrole AND oid >= 16384
        AND typname !~ 'pg_stat_statements|gtrgm'
    UNION ALL SELECT proname FROM pg_proc p WHERE proowner <> %(me)s::regrole AND oid >= 16384
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
    UNION ALL SELECT nspname FROM pg_namespace WHERE nspowner <> %(me)s::regrole AND oid >= 16384
    UNION ALL SELECT cfgname FROM pg_ts_config WHERE cfgowner <> %(me)s::regrole AND oid >= 16384
    UNION ALL SELECT stxname FROM pg_statistic_ext WHERE stxowner <> %(me)s::regrole
"""


@pytest.fixture
def earlier(open_folder: Path) -> Iterator[Path]:
    """The DATA_DIR of an earlier version, stopped."""
    data_dir = open_folder / "earlier"
    made = python("-c", EARLIER_VERSION, data_dir, THINGS, env=environment())
    stderr = made.communicate(timeout=100)[1]
    assert made.returncode == 0, stderr
    yield data_dir
    shutil.rmtree(data_dir)


def interrupted_after(data_dir: Path, statement: str) -> None:
    """Start it, and let the process die right after the first statement that contains this text."""
    script = f"""
import os, sys
from pathlib import Path
import psycopg
from ticketbook.embedded import membership
real = psycopg.Connection.execute
def execute(self, query, *args, **more):
    result = real(self, query, *args, **more)
    if {statement!r} in (query.as_string(self) if hasattr(query, "as_string") else str(query)):
        os._exit(9)
    return result
psycopg.Connection.execute = execute
membership.join(Path(sys.argv[1]))
"""
    process = python("-c", script, data_dir, env=environment())
    process.communicate(timeout=100)
    assert process.returncode == 9


def test_a_cluster_of_an_earlier_version_loses_its_superuser_and_no_data(earlier):
    for statement in (
        'ROLE "postgres"',
        "ALTER TABLE",
        "ALTER DATABASE",
        "RENAME TO ticketbook_former",
    ):
        interrupted_after(earlier, statement)
    with User(earlier) as ann, connect(ann.params) as connection:
        for name in ("ticketbook", "test_ticketbook"):
            with connect(ann.params, dbname=name) as one:
                assert one.execute("SELECT count(*), sum(price) FROM paid").fetchone() == (
                    1000,
                    5000,
                )
                assert one.execute(FOREIGN, {"me": "ticketbook"}).fetchall() == []
                one.execute(
                    "INSERT INTO paid (mood) VALUES ('glad'); ALTER TYPE mood ADD VALUE 'sad'"
                )
                one.execute('DROP TABLE paid CASCADE; DROP SCHEMA "Other one" CASCADE')
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(FORBIDDEN["a program of the machine"])
        query = """SELECT rolname, rolsuper, rolcanlogin FROM pg_roles
                   WHERE oid >= 16384 OR oid = 10 ORDER BY rolname"""
        assert connection.execute(query).fetchall() == [
            ("postgres", True, True),
            ("ticketbook", False, True),
            ("ticketbook_former", True, False),
        ]
        assert ann.params["password"] == "earlier"
        with pytest.raises(psycopg.OperationalError, match="password authentication"):
            connect(ann.params, user="ticketbook_former")
    with User(earlier) as bob, connect(bob.params) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# --- Sharing one server -----------------------------------------------------------------------


def test_processes_that_join_at_once_share_one_server_and_the_last_one_stops_it(data_dir):
    users = [User(data_dir) for _ in range(4)]
    ports = {user.join()["port"] for user in users}
    server = postmaster(data_dir)
    for user in users:
        assert lives(server)
        user.leave()
    assert len(ports) == 1
    assert not lives(server)


def test_a_user_that_is_killed_leaves_the_server_to_the_next(data_dir):
    ann = User(data_dir)
    ann.join()
    server = postmaster(data_dir)
    ann.kill()
    assert lives(server)
    with User(data_dir):
        assert postmaster(data_dir) == server
    assert not lives(server)


def test_the_last_one_stops_a_server_that_it_does_not_know_yet(data_dir):
    with User(data_dir):
        watcher = User(data_dir)
        watcher.join()
        kill(postmaster(data_dir))
        watcher.join()
        server = postmaster(data_dir)
        watcher.kill()
    assert not lives(server)


def test_a_forked_child_keeps_the_server_that_its_parent_leaves(data_dir):
    with User(data_dir, FORKS) as parent:
        server = postmaster(data_dir)
        parent.process.wait(10)
        assert lives(server)
    # `with` has read the child's output to its end, so the child has left too.
    psutil.wait_procs([psutil.Process(server)] if lives(server) else [], timeout=10)
    assert not lives(server)


# --- After a crash ----------------------------------------------------------------------------


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("pid", [dead_process, os.getpid], ids=["nobody", "a stranger"])
def test_pid_file_of_a_server_that_is_gone_is_no_obstacle(data_dir, pid):
    with User(data_dir):
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(pid()), *lines[1:], ""]))
    with User(data_dir) as ann, connect(ann.params) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert lives(os.getpid())


def test_killed_server_is_started_again_on_its_port_with_its_data(data_dir):
    with User(data_dir) as ann, User(data_dir) as bob:
        with connect(ann.params) as connection:
            connection.execute("DROP TABLE IF EXISTS paid; CREATE TABLE paid AS SELECT 1 AS n")
        kill(postmaster(data_dir))
        assert ann.join() == bob.join() == ann.params
        with connect(ann.params) as connection:
            assert connection.execute("SELECT n FROM paid").fetchone() == (1,)


def test_kept_connections_find_the_server_after_a_crash(data_dir):
    web = User(data_dir, KEPT)
    assert web.join() == 42
    server = psutil.Process(postmaster(data_dir))
    backends = server.children()
    kill(server.pid)
    psutil.wait_procs(backends, timeout=20)  # until then a backend may still take one more question
    assert web.join() == 42
    web.leave()


# --- What it refuses, in one sentence ---------------------------------------------------------


def test_another_major_version_is_refused(data_dir):
    with User(data_dir):
        pass
    with replaced(data_dir / "postgres" / "PG_VERSION", "17\n"):
        assert "was made by PostgreSQL 17, but this is PostgreSQL 18" in complaint(data_dir)


@pytest.mark.parametrize(
    ("password", "sentence"),
    [(None, "is missing: put it back"), ("wrong", "does not hold the password")],
)
def test_a_lost_password_is_named(data_dir, password, sentence):
    with User(data_dir):
        pass
    with replaced(data_dir / "postgres.password", password):
        assert sentence in complaint(data_dir)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()  # it was not left running


def test_a_server_that_cannot_start_says_why(data_dir):
    with User(data_dir):
        pass
    with replaced(data_dir / "postgres" / "pg_hba.conf", None):
        assert "does not start: " in (text := complaint(data_dir))
        assert "pg_hba.conf" in text


def test_with_a_database_url_nothing_embedded_is_touched(data_dir, tmp_path):
    with User(data_dir) as ann:
        url = "postgres://{user}:{password}@{host}:{port}/ticketbook".format(**ann.params)
        done = manage("check", "--database", "default", DATABASE_URL=url, SECRET_KEY="x" * 50,
                      DATA_DIR=tmp_path / "data")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


# --- Root -------------------------------------------------------------------------------------


@needs_root
def test_root_runs_it_as_nobody(data_dir):
    with User(data_dir):
        assert psutil.Process(postmaster(data_dir)).username() == "nobody"


@needs_root
def test_a_folder_of_root_alone_gets_its_cluster_where_nobody_can_reach_it(tmp_path):
    data_dir = tmp_path / "data"
    tmp_path.chmod(0o700)
    try:
        with User(data_dir) as ann, connect(ann.params) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert (data_dir / "postgres").is_symlink()
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree((data_dir / "postgres").resolve().parent)


@needs_root
def test_a_cluster_of_another_user_is_refused(data_dir):
    with User(data_dir):
        owner = (data_dir / "postgres").stat()
    os.chown(data_dir / "postgres", 12345, -1)
    try:
        assert "belongs to user 12345, not to nobody" in complaint(data_dir)
    finally:
        os.chown(data_dir / "postgres", owner.st_uid, -1)


@needs_root
def test_an_ordinary_user_starts_one_too(open_folder):
    home = open_folder / "of nobody"
    home.mkdir()
    shutil.chown(home, "nobody")
    try:
        subprocess.run([sys.executable, "-c", "import psycopg"], check=True, **AS_NOBODY)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python is out of reach for other users")
    with User(home / "data", **AS_NOBODY) as ann:
        with connect(ann.params) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not (home / "data" / "postgres").is_symlink()


def test_programs_of_postgresql_are_found_by_name():
    for name in ("psql", "isolationtester"):
        assert os.access(binary(name), os.X_OK)
