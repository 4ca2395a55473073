"""What the folder of a PostgreSQL that does not run says of itself (`pg_controldata`)."""

from dataclasses import dataclass
from pathlib import Path

from ticketbook.embedded import binaries


@dataclass(frozen=True, order=True)
class Extent:
    """How far the WAL of a folder goes. The greater one has more."""

    timeline: int
    lsn: int
    in_order: bool  # it was stopped, and did not crash: what it says of its WAL is all there is


def extent(data: Path) -> Extent:
    """Raises OSError for what is no folder of PostgreSQL's."""
    done = binaries.run("pg_controldata", str(data))
    if done.returncode:
        raise OSError(f"{data} cannot be read: {done.stderr.strip()}")
    rows = (line.partition(":") for line in done.stdout.splitlines())
    told = {name: value.strip() for name, _, value in rows}
    checkpoint = told["Latest checkpoint's TimeLineID"], told["Latest checkpoint location"]
    replayed = (
        told["Min recovery ending loc's timeline"],
        told["Minimum recovery ending location"],
    )
    timeline, at = max((int(timeline), lsn(at)) for timeline, at in (checkpoint, replayed))
    in_order = told["Database cluster state"] in {"shut down", "shut down in recovery"}
    return Extent(timeline, at, in_order)


def lsn(told: str) -> int:
    """A position in the WAL: "0/E05BFF0" is two numbers of 32 bits. 0 for what is none."""
    high, slash, low = told.partition("/")
    return (int(high, 16) << 32) + int(low, 16) if slash else 0
