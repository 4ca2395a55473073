"""A real PgBouncer in transaction mode, for benchmarks and tests, if the machine has one."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.servers import free_port
from ticketbook.embedded import binaries

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "PgBouncer is not installed (apt-get install pgbouncer)"

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
def pgbouncer(
    params: Mapping[str, Any],
    folder: Path,
    *,
    ignored: str = "extra_float_digits",
    pool_size: int = 5,
) -> Iterator[str]:
    """The URL of a pooler before the server of these parameters. It runs until the block ends.

    `folder` is one that the server's user can reach. `ignored` are the parameters of a session that the
    pooler drops instead of refusing them.
    """
    listen = free_port()
    configuration = CONFIGURATION.format(
        **params, listen=listen, folder=folder, ignored=ignored, pool_size=pool_size
    )
    _write(folder / "pgbouncer.ini", configuration)
    _write(folder / "users.txt", '"{user}" "{password}"\n'.format(**params))
    user = binaries.server_user()
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    process = subprocess.Popen(
        [str(PROGRAM), str(folder / "pgbouncer.ini")],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **(as_user if os.geteuid() == 0 else {}),  # it refuses root
    )
    url = url_of({**params, "port": listen})
    try:
        _wait_until_it_answers(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def url_of(params: Mapping[str, Any]) -> str:
    return "postgres://{user}:{password}@{host}:{port}/{dbname}".format(**params)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)
    os.chown(file, binaries.server_user().pw_uid, -1)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(url):
                return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
