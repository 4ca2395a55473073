"""The roles of the embedded server.

The application's role owns its database and may do nothing else. So a hole in the application is none in the
machine, as it would be for a superuser (`COPY … TO PROGRAM`). The superuser makes both, and test databases.
"""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from ticketbook.embedded.binaries import EmbeddedPostgresError
from ticketbook.embedded.cluster import SUPERUSER, Cluster

ROLE = DATABASE = "ticketbook"
# While a cluster of an earlier version is changed: the role that will be ROLE, and the one that was.
NEXT, FORMER = "ticketbook_next", "ticketbook_former"
LOCKS = "-c lock_timeout=30s"

Connection = psycopg.Connection[Any]


def parameters(cluster: Cluster, port: int, *, superuser: bool = False) -> dict[str, Any]:
    """Connection parameters of the application's role or the superuser, without a database."""
    return {
        "host": "127.0.0.1",
        "port": port,
        "user": SUPERUSER if superuser else ROLE,
        "password": cluster.superuser_password() if superuser else cluster.password(),
        # It listens on the loopback only, so no round trip to negotiate TLS.
        "sslmode": "disable",
    }


def prepare(cluster: Cluster, port: int) -> None:
    """Make what is missing of role and database, and take a superuser's rights from the role.

    Whatever was interrupted is done the next time. Raises EmbeddedPostgresError.
    """
    try:
        if _is_prepared(cluster, port):
            return
        with _connect(parameters(cluster, port, superuser=True), "postgres") as superuser:
            _make_what_is_missing(superuser, cluster)
    except psycopg.OperationalError as exc:
        if _is_wrong_password(exc):
            raise _wrong_password(cluster) from None
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL does not answer: {exc} (see {cluster.log})."
        ) from exc


def _is_prepared(cluster: Cluster, port: int) -> bool:
    params = parameters(cluster, port)
    try:
        with _connect(params, "postgres") as connection:
            query = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            if connection.execute(query).fetchone():
                _demote(connection, cluster, port)
                return False
            query = "SELECT true FROM pg_database WHERE datname = %s"
            return bool(connection.execute(query, [DATABASE]).fetchone())
    except psycopg.OperationalError as exc:
        # In a new cluster there is no such role yet. One of an earlier version has no superuser's file.
        if _is_wrong_password(exc) and cluster.superuser_file.exists():
            return False
        raise


def _make_what_is_missing(superuser: Connection, cluster: Cluster) -> None:
    if not superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
        _make_role(superuser, ROLE, cluster.password())
    elif not _password_is_right(cluster, superuser.info.port):
        raise _wrong_password(cluster)
    if not superuser.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        superuser.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")


def _password_is_right(cluster: Cluster, port: int) -> bool:
    try:
        _connect(parameters(cluster, port), "postgres").close()
    except psycopg.OperationalError as exc:
        if _is_wrong_password(exc):
            return False
        raise
    return True


def _make_role(superuser: Connection, name: str, password: str, options: str = "") -> None:
    exists = superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    command = "ALTER" if exists else "CREATE"
    superuser.execute(
        sql.SQL(f"{command} ROLE {{}} LOGIN {options} PASSWORD {{}}").format(
            sql.Identifier(name), sql.Literal(password)
        )
    )


# --- A cluster of an earlier version, where the application's role is the superuser -------------

# What a role owns in a database, but for what belongs to an extension or to something that is listed too.
OWNED = """
SELECT upper(replace(named.type, ' object', '')) || ' ' || named.identity
FROM (
    SELECT 'pg_class'::regclass AS class, oid FROM pg_class
    WHERE relowner = %(role)s AND relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL SELECT 'pg_class'::regclass, s.oid FROM pg_class s
    WHERE relowner = %(role)s AND relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = s.oid AND deptype IN ('a', 'i')
    )
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE proowner = %(role)s
    UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
    WHERE typowner = %(role)s AND (typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
    UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspowner = %(role)s
    UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collowner = %(role)s
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxowner = %(role)s
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgowner = %(role)s
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictowner = %(role)s
) AS owned, pg_identify_object(owned.class, owned.oid, 0) AS named
WHERE owned.oid >= 16384 AND NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = owned.class AND objid = owned.oid AND deptype = 'e'
)
"""


def _demote(former: Connection, cluster: Cluster, port: int) -> None:
    """Give everything that the application's role owns to a new role, which then takes its name.

    PostgreSQL lets the role that made the cluster neither give up its rights nor be dropped. So it stays
    under another name, and nobody can log in as it.
    """
    cluster.write_superuser_password()
    _make_role(former, SUPERUSER, cluster.superuser_password(), "SUPERUSER")
    params = parameters(cluster, port, superuser=True)
    with _connect(params, "postgres") as superuser:
        role = superuser.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone()
        _make_role(superuser, NEXT, cluster.password())
        names = superuser.execute(
            "SELECT datname FROM pg_database WHERE datdba = %s AND datname <> 'postgres'"
            " AND NOT datistemplate AND datallowconn", [role],
        ).fetchall()  # fmt: skip
        for name in names:
            with _connect(params, name) as connection, connection.transaction():
                for thing in connection.execute(OWNED, {"role": role}).fetchall():
                    connection.execute(f"ALTER {thing} OWNER TO {NEXT}".encode())
            superuser.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(name), sql.Identifier(NEXT)
                )
            )
        with superuser.transaction():
            superuser.execute(f"ALTER ROLE {ROLE} RENAME TO {FORMER}")
            superuser.execute(f"ALTER ROLE {FORMER} NOLOGIN PASSWORD NULL")
            superuser.execute(f"ALTER ROLE {NEXT} RENAME TO {ROLE}")


# --- Connecting ---------------------------------------------------------------------------------


def _connect(params: dict[str, Any], database: str) -> Connection:
    return psycopg.connect(
        dbname=database,
        autocommit=True,
        connect_timeout=10,
        options=LOCKS,
        row_factory=scalar_row,
        **params,
    )


def _is_wrong_password(exc: psycopg.OperationalError) -> bool:
    return "password authentication failed" in str(exc)


def _wrong_password(cluster: Cluster) -> EmbeddedPostgresError:
    files = f"{cluster.password_file} does not hold the password of this database"
    if cluster.superuser_file.exists():
        files = f"{cluster.password_file} or {cluster.superuser_file} does not hold the password"
    return EmbeddedPostgresError(
        f"{files}: put the right one back, or delete {cluster.folder} to start again without its data."
    )
