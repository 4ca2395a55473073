"""Asks Patroni's REST API who leads, and for a switchover."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from deploy.controldata import lsn
from deploy.layout import MEMBERS, Layout

LIMIT = 2.0  # seconds for an answer
# The servers are on this machine, so a proxy that http_proxy names is not used.
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Member:
    number: int
    role: str  # leader, sync_standby or replica
    state: str  # running, streaming, stopped …
    timeline: int
    lag: int | None  # bytes; None if it is not known
    lsn: int = 0  # how much WAL it has; 0 if it is not known

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def leads(self) -> bool:
        return self.role == "leader"


class NoLeader(Exception):
    """No member of the cluster leads."""


def members(layout: Layout) -> list[Member]:
    """The members as the first living one of them tells; an empty list if none answers."""
    for number in MEMBERS:
        if told := _told(layout, number):
            return told
    return []


def _told(layout: Layout, number: int) -> list[Member]:
    try:
        with ask(f"{layout.rest(number)}/cluster", timeout=LIMIT) as answer:
            rows = json.load(answer)["members"]
    except (OSError, ValueError, KeyError):
        return []
    return [_member(row) for row in rows]


def _member(row: dict[str, Any]) -> Member:
    lag = row.get("lag")
    return Member(
        number=int(row["name"].removeprefix("n")),
        role=row["role"],
        state=row["state"],
        timeline=int(row.get("timeline") or 0),
        lag=lag if isinstance(lag, int) else None,
        lsn=lsn(row.get("lsn", "")),
    )


def leader(layout: Layout, *, limit: float = 0) -> Member:
    """The leader that living members name and that says itself that it is the primary.

    Waits up to `limit` seconds. Raises NoLeader. An old primary whose Patroni died is no leader, although it
    may still take connections.
    """
    deadline = time.monotonic() + limit
    while True:
        for member in members(layout):
            if member.leads and member.state == "running" and is_primary(layout, member.number):
                return member
        if time.monotonic() >= deadline:
            raise NoLeader("No member of the cluster leads.")
        time.sleep(0.2)


def is_primary(layout: Layout, number: int) -> bool:
    try:
        with ask(f"{layout.rest(number)}/primary", timeout=LIMIT):
            return True
    except OSError:
        return False


def takes_writes(layout: Layout, number: int) -> bool:
    """Whether a member's PostgreSQL takes writes. Its Patroni says that it leads a little earlier."""
    url = layout.database_url(layout.port_of("postgres", number), host=layout.host(number))
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
    except psycopg.Error:
        return False


def all_in_place(layout: Layout) -> bool:
    """Whether one leads, the others follow on its timeline, and one of them synchronously.

    Each is asked itself: what the others know of a member that died is true for another while.
    """
    found = {number: _asked(layout, number) for number in MEMBERS}
    return not _away(found) and any(told.get("sync_standby") for told in found.values())


def away(layout: Layout) -> list[str]:
    """The names of the members that neither lead nor follow."""
    return _away({number: _asked(layout, number) for number in MEMBERS})


def _away(found: Mapping[int, dict[str, Any]]) -> list[str]:
    leaders = [told for told in found.values() if told.get("role") in {"primary", "master"}]
    if len(leaders) != 1 or leaders[0]["state"] != "running":
        return [f"n{number}" for number in found]
    return [
        f"n{number}"
        for number, told in found.items()
        if told is not leaders[0]
        and not (
            told.get("replication_state") == "streaming"
            and told["timeline"] == leaders[0]["timeline"]
        )
    ]


def _asked(layout: Layout, number: int) -> dict[str, Any]:
    # What a member says of itself; nothing if it does not answer.
    try:
        with ask(f"{layout.rest(number)}/patroni", timeout=LIMIT) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except (OSError, ValueError):
        return {}


def wait(condition: Callable[[], bool], *, limit: float) -> bool:
    """Wait until it is true, at most `limit` seconds. Returns whether it is."""
    deadline = time.monotonic() + limit
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return met


def switch_over(layout: Layout) -> str:
    """Let the synchronous standby take the leader's place. Returns what Patroni says when it is done.

    Raises NoLeader, and OSError if Patroni refuses.
    """
    now = leader(layout)
    body = json.dumps({"leader": now.name}).encode()
    login = base64.b64encode(f"patroni:{layout.secrets['rest_password']}".encode()).decode()
    request = urllib.request.Request(
        f"{layout.rest(now.number)}/switchover",
        data=body,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    with ask(request, timeout=60) as answer:
        said: str = answer.read().decode()
    return said
