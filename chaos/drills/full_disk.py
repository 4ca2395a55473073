"""PostgreSQL's disk is full, three times, under load.

About two minutes. The embedded PostgreSQL is on a small file system of its own (a tmpfs, so this needs
Linux and root; elsewhere the drill says so and is skipped). A file takes all that is left of it: first
until tables cannot grow, then also until the log (WAL) cannot, which ends PostgreSQL. Then the file is
deleted, and nobody does anything else: the site starts PostgreSQL again by itself. Nothing that a client
was told may be lost, all has to be at rest 120 seconds later, and whoever could not be served was told 503.
"""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import NoReturn

from chaos import clients, everybody, stage
from chaos.drills.running import Drill, Rest, at_rest, end, running, set_up
from chaos.quiet import with_connection
from chaos.system import DATA_DIR

CLIENTS = 12
PLAN: stage.Plan = [[("GA", 10, 200.0, None), ("VIP", 50, 50.0, None)]] * 3
SIZE = "400m"
FULL = 8.0  # seconds
LOAD = 8.0  # seconds of load before and after
# Whether PostgreSQL is made to begin a new file of its log meanwhile, as it does by itself after 16 MB.
ROUNDS = [False, True, True]
FIRST_LIMIT = 30.0  # seconds from the moment when there is space again to the first new booking
CHUNK = b"\0" * 65536


def main() -> None:
    with _small_disk():
        from ticketbook.embedded import membership

        set_up()
        try:
            if not (DATA_DIR / "postgres").resolve().is_relative_to(DATA_DIR.resolve()):
                _skip("the user who runs PostgreSQL cannot reach the folder")
            staged = with_connection(stage.set_up, CLIENTS, PLAN)
            wrong = asyncio.run(_drill(staged))
        finally:
            membership.leave()
    end(wrong)


@contextmanager
def _small_disk() -> Iterator[None]:
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    options = f"size={SIZE},mode=755"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(DATA_DIR)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as exc:
        _skip(str(exc))
    except subprocess.CalledProcessError as exc:
        _skip(exc.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(DATA_DIR)], check=False)


def _skip(why: str) -> NoReturn:
    print(f"Skipped: a small file system cannot be made here ({why}).")
    sys.exit(0)


async def _drill(staged: stage.Stage) -> list[str]:
    settings = {
        "DATABASE_URL": "",
        "DATA_DIR": str(DATA_DIR),
    }  # without the proxy, as it is shipped
    async with running("full_disk", staged, CLIENTS, settings=settings) as drill:
        crowd = clients.Crowd(staged, drill.recorder, drill.system.url, 1, inf)
        staff = clients.Staff(drill.system.environment())
        await staff.start()
        acting = asyncio.create_task(everybody.run(crowd, CLIENTS, staff))
        for new_log in ROUNDS:
            await asyncio.sleep(LOAD)
            await _fill(drill, new_log=new_log)
        await asyncio.sleep(3 * LOAD)
        crowd.seconds = drill.recorder.now()
        await acting
        await staff.end()
        rest = await at_rest(drill)
    return rest.wrong + _told(rest)


async def _fill(drill: Drill, *, new_log: bool) -> None:
    ballast = DATA_DIR / "ballast"
    with drill.recorder.fault("full_disk", {"arguments": [new_log]}):
        filling = asyncio.create_task(asyncio.to_thread(_keep_full, ballast))
        await asyncio.sleep(FULL / 2)
        if new_log:
            await asyncio.to_thread(_begin_new_log)
        await asyncio.sleep(FULL / 2)
        ballast.unlink()
        await filling


def _keep_full(ballast: Path) -> None:
    # As long as the file is there, it takes whatever somebody else has freed.
    with open(ballast, "wb", buffering=0) as file:
        while ballast.exists():
            with suppress(OSError):
                while True:
                    file.write(CHUNK)
            with suppress(OSError):
                file.write(b"\0")
            time.sleep(0.1)


def _begin_new_log() -> None:
    import psycopg

    from ticketbook.embedded import membership

    member = membership.join_as_superuser(DATA_DIR)
    with suppress(psycopg.Error), psycopg.connect(**member, autocommit=True) as connection:
        for _ in range(3):
            connection.execute("SELECT pg_logical_emit_message(false, 'drill', 'x')")
            connection.execute("SELECT pg_switch_wal()")


def _told(rest: Rest) -> list[str]:
    attempts, wrong = rest.history.attempts, []
    booked = sorted(
        each.ended
        for each in attempts
        if each.verb == "book" and each.status == 201 and not each.replayed
    )
    for fault in sorted(rest.history.faults, key=lambda fault: fault.began):
        statuses = Counter(
            each.status for each in attempts if fault.began < each.ended < fault.ended
        )
        first = min((each for each in booked if each > fault.ended), default=inf) - fault.ended
        print(
            f"disk full for {fault.ended - fault.began:.0f} s"
            f"{', and a new file of the log' if fault.request['arguments'][0] else ''}: answers "
            f"{dict(statuses.most_common())}; first new booking {first:.1f} s after there was space"
        )
        if first > FIRST_LIMIT:
            wrong.append(f"The first new booking came {first:.1f} s after there was space.")
    failed = Counter(f"{each.verb} {each.status}" for each in attempts if each.status == 500)
    print(f"{len(attempts)} requests; at rest {rest.seconds:.0f} s after the last client")
    return wrong + [f"{number} × {what}" for what, number in failed.items()]


if __name__ == "__main__":
    main()
