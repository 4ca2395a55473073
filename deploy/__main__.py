"""`make cluster`: all of TicketBook in the foreground, on a database of three members. Ctrl-C stops it."""

import signal
import sys
import time
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from deploy import backups, faults, patroni
from deploy.cluster import Cluster
from deploy.layout import MEMBERS, Layout, layout
from deploy.members import NotStarted
from deploy.packages import MissingPackages
from ticketbook.embedded.binaries import EmbeddedPostgresError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    cluster = None
    try:
        cluster = Cluster(layout())
        cluster.start(say)
        log_ins = cluster.manage("load_demo", "--yes")
        back_up_first(cluster.layout)
        say(welcome(cluster.layout, log_ins))
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass
    except (NotStarted, MissingPackages, EmbeddedPostgresError, ImproperlyConfigured) as exc:
        sys.exit(str(exc))
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt this
        if cluster is not None:
            say("\nStopping…")
            cluster.stop()
            say("Stopped.")


def back_up_first(where: Layout) -> None:
    """Make the first backup, if there is none. From then on every second can be restored."""
    if backups.existing(where):
        return
    try:
        backups.take(where)
    except (backups.BackupFailed, patroni.NoLeader, NotStarted) as exc:
        say(f"There is no backup, so nothing can be restored. make cluster-backup makes one. {exc}")


def welcome(where: Layout, log_ins: str) -> str:
    def port(name: str) -> str:
        return f"127.0.0.1:{where.port_of(name)}"

    def members(name: str) -> str:
        return ", ".join(f"{where.host(n)}:{where.port_of(name, n)}" for n in MEMBERS)

    config = where.config
    rows = [
        ("the site", f"{where.site}/, by HAProxy from the two web servers"),
        ("web servers", f"{port('web1')}, {port('web2')}"),
        ("PostgreSQL", f"{members('postgres')} (n1, n2, n3)"),
        ("the primary", f"{port('primary')}, by HAProxy; a standby: {port('replica')}"),
        ("PgBouncer", port("pooler")),
        ("Patroni", members("rest")),
        ("etcd", members("etcd_client")),
        ("Valkey", port("cache")),
        ("HAProxy", f"http://{port('stats')}/"),
        ("logs", f"{where.logs}/"),
        ("who leads", f"{where.venv}/bin/patronictl -c {config}/n1.yml list"),
        ("back it up", "make cluster-backup, in another window"),
    ]
    table = "\n".join(f"  {name:<14}{what}" for name, what in rows)
    return (
        f"\nThe cluster is ready.\n\n{table}\n\n{log_ins.rstrip()}\n\n"
        f"Break it, in another window:\n\n{faults.described()}\n\nCtrl-C stops all of it."
    )


def say(text: str) -> None:
    print(text, flush=True)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
