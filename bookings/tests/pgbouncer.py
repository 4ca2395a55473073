"""A real PgBouncer in transaction mode before the tests' server, if the machine has one."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from ticketbook.embedded import binaries
from ticketbook.embedded.cluster import Cluster
from ticketbook.tests.running import free_port, wait_until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed (apt-get install pgbouncer)"
)

CONFIGURATION = """
[databases]
{dbname} = host={host} port={port} dbname={dbname}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
query_wait_timeout = 20
ignore_startup_parameters = {ignored}
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(*, ignored="extra_float_digits", pool_size=5, params=None):
    """The URL of a pooler that runs until the block ends.

    `ignored` are the parameters of a session that it drops instead of refusing them.
    """
    params = params or connection.get_connection_params()
    folder = Cluster(connection.settings_dict["EMBEDDED_DATA_DIR"])._new_folder()
    listen = free_port()
    files = {
        "pgbouncer.ini": CONFIGURATION.format(
            **params, listen=listen, folder=folder, ignored=ignored, pool_size=pool_size
        ),
        "users.txt": '"{user}" "{password}"\n'.format(**params),
    }
    user = binaries.server_user()
    for name, text in files.items():
        (folder / name).write_text(text)
        os.chown(folder / name, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}  # it refuses root
    process = subprocess.Popen(
        [str(PROGRAM), str(folder / "pgbouncer.ini")],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **(as_user if os.geteuid() == 0 else {}),
    )
    url = "postgres://{user}:{password}@127.0.0.1:{listen}/{dbname}".format(listen=listen, **params)
    try:
        wait_until(lambda: _answers(url, process))
        yield url
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url, process):
    assert process.poll() is None, "PgBouncer ended"
    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError:
        return False


def direct_url():
    params = connection.get_connection_params()
    return "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)
