"""What can be broken in a running cluster, and how it is mended.

A part that stays down has a file in the folder `down`, which its launcher looks at; so a fault may come from
another process (`make cluster-break FAULT=…`). Other parts are started again after a second.
"""

import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
import psycopg

from deploy import disks, networks, patroni
from deploy.cluster import is_ready, postmaster
from deploy.layout import MEMBERS, Layout, layout
from deploy.parts import family

RESTART_LIMIT = 120.0  # seconds
WRONG = 180  # seconds by which a clock is wrong
FILES_OF_WAL = 40


def _leader(where: Layout) -> int:
    return patroni.leader(where, limit=30).number


def _standby(where: Layout) -> int:
    # The synchronous one if there is one, because its loss is felt.
    found = [each for each in patroni.members(where) if not each.leads]
    found.sort(key=lambda each: each.role != "sync_standby")
    return found[0].number


def _pid(where: Layout, name: str) -> int:
    return int((where.pids / name).read_text())


def _kill(where: Layout, *names: str, down: bool) -> None:
    for name in names:
        if down:
            (where.down / name).touch()
        for process in family(_pid(where, name)):
            # A child of Patroni is PostgreSQL, which has a fault of its own.
            if process.name() != "postgres":
                _send(process, signal.SIGKILL)


def _kill_postgres(where: Layout, member: int) -> None:
    # All processes at once, as when a machine goes. Children that outlive a postmaster take a while to end.
    if process := postmaster(where, member):
        for each in [process, *process.children(recursive=True)]:
            _send(each, signal.SIGKILL)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def primary_machine(where: Layout) -> str:
    member = _leader(where)
    (where.down / f"n{member}").touch()
    main = postmaster(where, member)
    everything = family(_pid(where, f"n{member}")) + (family(main.pid) if main else [])
    for process in everything:
        _send(process, signal.SIGKILL)
    _kill(where, f"e{member}", down=True)
    return f"n{member} and e{member}"


def postmaster_only(where: Layout) -> str:
    member = _leader(where)
    if main := postmaster(where, member):
        _send(main, signal.SIGKILL)
    return f"n{member}"


def patroni_only(where: Layout) -> str:
    member = _leader(where)
    _kill(where, f"n{member}", down=True)
    return f"n{member}"


def standby(where: Layout) -> str:
    member = _standby(where)
    _kill(where, f"n{member}", down=True)
    _kill_postgres(where, member)
    return f"n{member}"


def one_etcd(where: Layout) -> str:
    member = _leader(where)
    _kill(where, f"e{member}", down=True)
    return f"e{member}"


def etcd_quorum(where: Layout) -> str:
    gone = [f"e{n}" for n in MEMBERS[:2]]
    _kill(where, *gone, down=True)
    return " and ".join(gone)


def _of_the_site(name: str) -> Callable[[Layout], str]:
    def break_it(where: Layout) -> str:
        _kill(where, name, down=False)
        return name

    return break_it


def rolling_restart(where: Layout) -> str:
    """Restart both web servers as for a new version, one after the other."""
    for name in ("web1", "web2"):
        _restart(where, name)
    return "web1, then web2"


def _restart(where: Layout, name: str) -> None:
    before = _pid(where, name)
    _send(psutil.Process(before), signal.SIGTERM)

    def is_back() -> bool:
        return _pid(where, name) != before and is_ready(where, name)

    if not patroni.wait(is_back, limit=RESTART_LIMIT):
        raise OSError(f"{name} did not come back.")


def frozen_primary(where: Layout) -> str:
    member = _leader(where)
    main = postmaster(where, member)
    for process in family(_pid(where, f"n{member}")) + (family(main.pid) if main else []):
        _send(process, signal.SIGSTOP)
    return f"n{member}"


def cut_network(where: Layout) -> str:
    if not where.network:
        raise networks.NoNetworks("The members of this cluster have no networks of their own.")
    member = _leader(where)
    networks.cut(where, member)
    return f"n{member} and e{member}"


def full_disk(where: Layout) -> str:
    """The primary's disk is full, also for PostgreSQL's log (WAL)."""
    if not where.disk:
        raise disks.NoDisks("The members of this cluster have no disks of their own.")
    member = _leader(where)
    disks.fill(where, member)
    _begin_new_wal(where, member)
    return f"n{member}"


def _begin_new_wal(where: Layout, member: int) -> None:
    # PostgreSQL does so by itself after 16 MB, and has a few empty files in stock.
    password = where.secrets["superuser_password"]
    url = f"postgres://postgres:{password}@{where.host(member)}:{where.port_of('postgres', member)}"
    with (
        suppress(psycopg.Error),
        psycopg.connect(f"{url}/postgres", connect_timeout=5, autocommit=True) as connection,
    ):
        for _ in range(FILES_OF_WAL):
            connection.execute("SELECT pg_logical_emit_message(false, 'fault', 'x')")
            connection.execute("SELECT pg_switch_wal()")


def wrong_clock(where: Layout) -> str:
    if not where.clocks.exists():
        raise OSError("The clocks of this cluster cannot be set wrong.")
    ahead = random.choice([-WRONG, WRONG])
    for process in family(_pid(where, "web1")):
        (where.clocks / str(process.pid)).write_text(str(ahead))
    return f"web1, by {ahead:+} s"


def switchover(where: Layout) -> str:
    return patroni.switch_over(where).strip()


def mend(where: Layout) -> str:
    """Start what is down, continue what is frozen, join what is cut, make space, and set clocks right."""
    networks.mend(where)
    disks.mend(where)
    for file in where.clocks.glob("*"):
        file.unlink()
    names = {file.name for file in where.down.iterdir()}
    for member in MEMBERS:
        main = postmaster(where, member)
        with suppress(FileNotFoundError):
            everything = family(_pid(where, f"n{member}")) + (family(main.pid) if main else [])
            if any(_stands_still(process) for process in everything):
                names.add(f"n{member}")
            for process in everything:
                _send(process, signal.SIGCONT)
    for file in where.down.iterdir():
        file.unlink()
    return ", ".join(sorted(names)) or "nothing was down"


def _stands_still(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Fault:
    what: str  # what happens
    strike: Callable[[Layout], str]  # returns what was hit
    moves: bool = False  # another member becomes the primary
    # What only a failover test gives a cluster: `networks` or `disks` of the members' own, or `clocks` that
    # can be set wrong.
    needs: str = ""


FAULTS = {
    "primary_machine": Fault(
        "the primary's machine dies: Patroni, PostgreSQL and etcd", primary_machine, moves=True
    ),
    "postmaster": Fault("the primary's PostgreSQL is killed", postmaster_only, moves=True),
    "patroni": Fault(
        "the primary's Patroni is killed, its PostgreSQL runs on", patroni_only, moves=True
    ),
    "frozen_primary": Fault(
        "the primary's Patroni and PostgreSQL stand still", frozen_primary, moves=True
    ),
    "cut_network": Fault(
        "the primary's machine is cut off from all others",
        cut_network,
        moves=True,
        needs="networks",
    ),
    "full_disk": Fault("the primary's disk is full", full_disk, moves=True, needs="disks"),
    "switchover": Fault("a standby takes over by command", switchover, moves=True),
    "standby": Fault("the synchronous standby's machine dies", standby),
    "one_etcd": Fault("an etcd dies", one_etcd),
    "etcd_quorum": Fault("two of three etcd die", etcd_quorum),
    "haproxy": Fault("HAProxy is killed", _of_the_site("haproxy")),
    "web": Fault("a web server is killed", _of_the_site("web1")),
    "rolling_restart": Fault("both web servers are restarted in turn", rolling_restart),
    "wrong_clock": Fault(
        "the clock of a web server is three minutes wrong", wrong_clock, needs="clocks"
    ),
    "worker": Fault("the worker is killed", _of_the_site("worker")),
    "valkey": Fault("Valkey is killed", _of_the_site("valkey")),
}


def described() -> str:
    rows = [(name, fault.what) for name, fault in FAULTS.items() if not fault.needs]
    rows.append(("mend", "what is down starts again, and what stands still goes on"))
    return "\n".join(f"  make cluster-break FAULT={name:<17}{what}" for name, what in rows)


def main() -> None:
    """`make cluster-break FAULT=…`"""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name != "mend" and (name not in FAULTS or FAULTS[name].needs):
        sys.exit(f"Name a fault:\n\n{described()}")
    where = layout()
    if not patroni.members(where):
        sys.exit("No cluster runs here. Start one: make cluster")
    try:
        if name == "mend":
            print(f"Mended: {mend(where)}.")
        else:
            print(
                f"{FAULTS[name].what[0].upper()}{FAULTS[name].what[1:]}: {FAULTS[name].strike(where)}."
            )
    except (patroni.NoLeader, OSError) as exc:
        sys.exit(f"It cannot be broken now: {exc}")


if __name__ == "__main__":
    main()
