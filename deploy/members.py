"""Brings up etcd and the members of PostgreSQL, or says in one sentence why they do not come up.

The site needs a majority of etcd and one member that leads. It starts without the others.
"""

from collections.abc import Callable, Sequence

from deploy import etcd, patroni
from deploy.controldata import extent
from deploy.layout import MEMBERS, Layout

ETCD_LIMIT = 60.0  # seconds
LEADER_LIMIT = 180.0
OTHERS_LIMIT = 120.0
LAST_LIMIT = 10.0  # for the last member of etcd, when the others serve
VERSION = "PG_VERSION"  # every database has this file
MAJORITY = len(MEMBERS) // 2 + 1

Say = Callable[[str], object]


class NotStarted(Exception):
    """The message is a sentence that says why the cluster does not start."""


def bring_up(where: Layout, start: Callable[..., None], say: Say) -> None:
    """Start them by `start(*names)`, and return when a member leads. Raises NotStarted.

    Says what does not run if that is not needed.
    """
    start(*(f"e{number}" for number in MEMBERS))
    _await_etcd(where, say)
    everybody = [f"n{number}" for number in MEMBERS]
    with_data = [number for number in MEMBERS if (where.data(number) / VERSION).exists()]
    if with_data and not etcd.remembers(where):
        # A member that comes up first would lead: with a new database, or without the last bookings.
        first = f"n{furthest_of(where, with_data)}"
        start(first)
        _await_leader(where)
        start(*(name for name in everybody if name != first))
    else:
        start(*everybody)
        _await_leader(where)
    patroni.wait(lambda: patroni.all_in_place(where), limit=OTHERS_LIMIT)
    if away := patroni.away(where):
        say(
            f"{names(away)} did not come into place: the site starts without. See {logs(where, away)}."
        )


def _await_etcd(where: Layout, say: Say) -> None:
    everybody = [f"e{number}" for number in MEMBERS]
    patroni.wait(lambda: len(etcd.serving(where)) >= MAJORITY, limit=ETCD_LIMIT)
    patroni.wait(lambda: etcd.serving(where) == everybody, limit=LAST_LIMIT)
    away = [name for name in everybody if name not in etcd.serving(where)]
    if len(away) > len(MEMBERS) - MAJORITY:
        raise NotStarted(
            f"etcd has no majority, so no member of PostgreSQL may lead: {names(away)} did not start within "
            f"{ETCD_LIMIT:.0f} seconds. See {logs(where, away)}."
        )
    if away:
        say(
            f"{names(away)} of etcd did not start, and the others go on without. See {logs(where, away)}."
        )


def furthest_of(where: Layout, with_data: Sequence[int]) -> int:
    """The number of the member that has all WAL, where etcd does not remember who led. Raises NotStarted."""
    if len(with_data) == 1:
        return with_data[0]
    try:
        found = {number: extent(where.data(number)) for number in with_data}
    except OSError as exc:
        raise NotStarted(f"etcd has forgotten who led. {exc}") from None
    if not all(each.in_order for each in found.values()):
        raise NotStarted(
            "etcd has forgotten who led, and not all members were stopped in order, so nobody knows who has "
            f"every acknowledged booking. Look in {where.logs} who led last. To go on with it, copy its "
            f"folder out of {where.home / 'data'}, and make adopt-restored INTO=that copy."
        )
    return max(found, key=lambda number: found[number])


def _await_leader(where: Layout) -> None:
    try:
        patroni.leader(where, limit=LEADER_LIMIT)
    except patroni.NoLeader:
        furthest = max(
            patroni.members(where), key=lambda each: (each.timeline, each.lsn), default=None
        )
        told = why_nobody_leads(where, etcd.may_lead(where), furthest.number if furthest else 0)
        raise NotStarted(told) from None


def why_nobody_leads(where: Layout, may_lead: Sequence[str], furthest: int) -> str:
    """`may_lead` are those that had every commit while somebody led; `furthest` is the one with most WAL now.

    They are empty or 0 if that is unknown.
    """
    nobody = f"No member of PostgreSQL leads after {LEADER_LIMIT:.0f} seconds"
    if not may_lead or not furthest:
        return f"{nobody}. See {logs(where, [f'n{number}' for number in MEMBERS])}."
    return (
        f"{nobody}: only {names(may_lead, 'or')} may, because nobody else surely has every acknowledged "
        f"booking. See {logs(where, may_lead)}. If the data there are lost, n{furthest} is furthest ahead. "
        f"To go on with it, copy {where.data(furthest)} to another folder, and make adopt-restored "
        f"INTO=that folder. What {names(may_lead, 'or')} acknowledged later is lost then."
    )


def names(some: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, [", ".join(some[:-1]), *some[-1:]]))


def logs(where: Layout, some: Sequence[str]) -> str:
    return names([f"{where.logs}/{name}.log" for name in some])
