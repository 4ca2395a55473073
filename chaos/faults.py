"""Faults, and the schedule that says which happen when.

A schedule is printed and read as `12.5 kill_web 0; 14 cut_at_commit 3`: seconds since the clients began, a
name, and arguments. The docstring of a fault says what its arguments are.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from chaos.history import Recorder
from chaos.proxy import COMMIT, SETTLE
from chaos.system import HOLD_SECONDS, System

# What a fault does. It returns when it is over, with a note of what it has hit.
Act = Callable[..., Awaitable[str]]
ACTS: dict[str, Act] = {}

# Conditions of the whole run, which `chaos/__main__.py` reads: at second 0.
CONDITIONS = {"no_worker", "with_cache", "with_page"}


@dataclass(frozen=True)
class Planned:
    at: float
    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.at:g}", self.name, *self.arguments])


def parse(text: str) -> list[Planned]:
    """The schedule that a text names, in order of time. Raises ValueError with a sentence."""
    schedule = []
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        at, *rest = entry.split()
        try:
            second = float(at)
        except ValueError:
            raise ValueError(f"{entry!r} does not begin with a number of seconds.") from None
        if not rest or rest[0] not in ACTS.keys() | CONDITIONS:
            known = ", ".join(sorted(ACTS.keys() | CONDITIONS))
            raise ValueError(f"{entry!r} names no fault. The faults are {known}.")
        schedule.append(Planned(second, rest[0], tuple(rest[1:])))
    return sorted(schedule, key=lambda planned: planned.at)


def printed(schedule: Iterable[Planned]) -> str:
    return "; ".join(map(str, schedule))


# --- The faults -------------------------------------------------------------------------------------------


def fault(act: Act) -> Act:
    ACTS[act.__name__] = act
    return act


@fault
async def kill_web(system: System, which: str = "0") -> str:
    """kill -9 of one process of the web server: its number."""
    return _signal_one(system.web_processes(), which, signal.SIGKILL)


@fault
async def freeze_web(system: System, which: str = "0", seconds: str = "8") -> str:
    """SIGSTOP, and SIGCONT so many seconds later: its number, seconds."""
    processes = system.web_processes()
    note = _signal_one(processes, which, signal.SIGSTOP)
    await asyncio.sleep(float(seconds))
    if processes:
        with suppress(psutil.NoSuchProcess):
            _chosen(processes, which).send_signal(signal.SIGCONT)
    return note


@fault
async def kill_master(system: System) -> str:
    """kill -9 of gunicorn's master. Its processes have to end by themselves."""
    return system.kill_master()


@fault
async def kill_worker(system: System) -> str:
    system.worker.kill()
    return ""


@fault
async def kill_postmaster(system: System, down: str = "0.5") -> str:
    """kill -9; how many seconds until it is started again."""
    return await system.restart_database(signal.SIGKILL, float(down))


@fault
async def restart_fast(system: System, down: str = "0.5") -> str:
    """PostgreSQL ends all sessions and shuts down: seconds until it is started again."""
    return await system.restart_database(signal.SIGINT, float(down))


@fault
async def restart_immediate(system: System, down: str = "0.5") -> str:
    """PostgreSQL stops without a checkpoint, and recovers: seconds until it is started again."""
    return await system.restart_database(signal.SIGQUIT, float(down))


@fault
async def kill_backend(system: System, which: str = "0") -> str:
    """kill -9 of one session of PostgreSQL, which then ends all others and recovers: its number."""
    return _signal_one(system.backends(), which, signal.SIGKILL)


@fault
async def end_backend(system: System, which: str = "0") -> str:
    """One session is terminated, as by pg_terminate_backend: its number."""
    return _signal_one(system.backends(), which, signal.SIGTERM)


@fault
async def cut_all(system: System) -> str:
    """All connections to the database are reset."""
    system.proxy.cut_all()
    return ""


@fault
async def cut_at_commit(system: System, times: str = "1") -> str:
    """So many COMMITs reach the database, and their answers are lost."""
    return await _cut_at(system, COMMIT, times, answer_lost=True)


@fault
async def cut_before_commit(system: System, times: str = "1") -> str:
    """So many COMMITs never reach the database."""
    return await _cut_at(system, COMMIT, times, answer_lost=False)


@fault
async def cut_at_settle(system: System, times: str = "1") -> str:
    """So many settlements reach the database, and their answers are lost."""
    return await _cut_at(system, SETTLE, times, answer_lost=True)


@fault
async def slow_database(system: System, delay: str = "0.1", seconds: str = "3") -> str:
    """All that is sent arrives later: by how many seconds, for how many seconds."""
    system.proxy.delay(float(delay))
    await asyncio.sleep(float(seconds))
    system.proxy.delay(0)
    return ""


@fault
async def stall(system: System, seconds: str = "2") -> str:
    """Nothing passes for so many seconds. Then all of it does."""
    return await _stop_passing(system, seconds, up=True, down=True, cut=False)


@fault
async def half_open(system: System, seconds: str = "2") -> str:
    """Nothing passes for so many seconds, then the connections are cut."""
    return await _stop_passing(system, seconds, up=True, down=True, cut=True)


@fault
async def one_way(system: System, seconds: str = "2") -> str:
    """The database is told everything and its answers are lost; then the connections are cut."""
    return await _stop_passing(system, seconds, up=False, down=True, cut=True)


@fault
async def gateway(system: System, mode: str = "down", seconds: str = "3") -> str:
    """The gateway is slow, late, lost, silent, twice, down, declines or forgets: mode, seconds."""
    await system.set_gateway(mode, float(seconds))
    await asyncio.sleep(float(seconds))
    return ""


@fault
async def kill_gateway(system: System) -> str:
    system.gateway.kill()
    return ""


@fault
async def kill_page(system: System) -> str:
    """kill -9 of the payment page, which starts again. Customers and the site do not reach it meanwhile."""
    if system.page is None:
        return "there is none"
    system.page.kill()
    return ""


@fault
async def slow_page(system: System, delay: str = "0.3", seconds: str = "3") -> str:
    """All between the site and the payment page arrives later: by how many seconds, for how many seconds."""
    system.page_proxy.delay(float(delay))
    await asyncio.sleep(float(seconds))
    system.page_proxy.delay(0)
    return ""


@fault
async def deaf_page(system: System, seconds: str = "2") -> str:
    """The payment page is told everything and its answers to the site are lost, for so many seconds."""
    system.page_proxy.stop_passing(up=False, down=True)
    await asyncio.sleep(float(seconds))
    system.page_proxy.heal(cut=True)
    return ""


@fault
async def clock(system: System, who: str = "worker", ahead: str = "180", seconds: str = "5") -> str:
    """The clock of one process is wrong: `worker` or the number of a web process, by how much, how long."""
    if who == "worker":
        pid = system.worker.pid if system.worker.lives() else 0
    else:
        pid = _chosen(processes, who).pid if (processes := system.web_processes()) else 0
    file = system.clocks / str(pid)
    file.write_text(ahead)
    await asyncio.sleep(float(seconds))
    file.unlink(missing_ok=True)
    return f"pid {pid}"


@fault
async def kill_cache(system: System) -> str:
    """kill -9 of the cache server. It stays away."""
    return system.kill_cache()


@fault
async def flush_cache(system: System) -> str:
    if system.cache is None or not system.cache.is_running():
        return "there is none"
    with system.cache.client() as client:
        client.flushall()
    return ""


@fault
async def slow_cache(system: System, delay: str = "0.2", seconds: str = "4") -> str:
    """The cache server's answers arrive later: by how many seconds, for how many seconds."""
    if system.cache is None:
        return "there is none"
    system.cache_proxy.delay(float(delay))
    await asyncio.sleep(float(seconds))
    system.cache_proxy.delay(0)
    return ""


def _chosen(processes: list[psutil.Process], which: str) -> psutil.Process:
    return processes[int(which) % len(processes)]


def _signal_one(processes: list[psutil.Process], which: str, number: signal.Signals) -> str:
    if not processes:
        return "there was none"
    process = _chosen(processes, which)
    process.send_signal(number)
    return f"pid {process.pid}"


async def _cut_at(system: System, marker: bytes, times: str, *, answer_lost: bool) -> str:
    before = system.proxy.cuts_made
    system.proxy.cut_at(marker, int(times), answer_lost=answer_lost)
    for _ in range(20):
        await asyncio.sleep(0.1)
        if system.proxy.cuts_made - before >= int(times):
            break
    system.proxy.cut_no_more()
    return f"{system.proxy.cuts_made - before} cut"


async def _stop_passing(system: System, seconds: str, *, up: bool, down: bool, cut: bool) -> str:
    system.proxy.stop_passing(up=up, down=down)
    await asyncio.sleep(float(seconds))
    system.proxy.heal(cut=cut)
    return ""


# --- Schedules --------------------------------------------------------------------------------------------

# How arguments are drawn.
MADE: dict[str, Callable[[random.Random], tuple[object, ...]]] = {
    "kill_web": lambda r: (r.randrange(2),),
    "freeze_web": lambda r: (r.randrange(2), round(r.uniform(HOLD_SECONDS + 2, 15), 1)),
    "kill_master": lambda r: (),
    "kill_worker": lambda r: (),
    "kill_postmaster": lambda r: (round(r.uniform(0, 2), 1),),
    "restart_fast": lambda r: (round(r.uniform(0, 2), 1),),
    "restart_immediate": lambda r: (round(r.uniform(0, 2), 1),),
    "kill_backend": lambda r: (r.randrange(20),),
    "end_backend": lambda r: (r.randrange(20),),
    "cut_all": lambda r: (),
    "cut_at_commit": lambda r: (r.randint(1, 6),),
    "cut_before_commit": lambda r: (r.randint(1, 6),),
    "cut_at_settle": lambda r: (r.randint(1, 6),),
    "slow_database": lambda r: (round(r.uniform(0.02, 0.3), 2), round(r.uniform(1, 4), 1)),
    "stall": lambda r: (round(r.uniform(0.5, 4), 1),),
    "half_open": lambda r: (round(r.uniform(0.5, 4), 1),),
    "one_way": lambda r: (round(r.uniform(0.3, 3), 1),),
    "gateway": lambda r: (
        r.choice(["slow", "late", "lost", "silent", "twice", "down", "decline", "forgets"]),
        round(r.uniform(2, 6), 1),
    ),
    "kill_gateway": lambda r: (),
    "kill_page": lambda r: (),
    # Two delays of half the time limit, there and back, are as long as it is.
    "slow_page": lambda r: (round(r.uniform(0.1, 1), 2), round(r.uniform(2, 6), 1)),
    "deaf_page": lambda r: (round(r.uniform(1, 4), 1),),
    "clock": lambda r: (r.choice(["worker", 0, 1]), r.choice([-180, 180]), 10),
    "kill_cache": lambda r: (),
    "flush_cache": lambda r: (),
    "slow_cache": lambda r: (round(r.uniform(0.05, 1), 2), round(r.uniform(2, 6), 1)),
}
OFTEN = {"gateway": 3, "cut_at_commit": 2, "kill_web": 2}
OF_THE_CACHE = {"kill_cache", "flush_cache", "slow_cache"}
OF_THE_PAGE = {"kill_page", "slow_page", "deaf_page"}
EVERY = 4.0  # seconds between two faults on average


def planned(seed: int, seconds: float) -> list[Planned]:
    """The schedule of a seed: one kind of fault again and again, or several kinds mixed."""
    draw = random.Random(f"schedule {seed}")
    schedule = []
    with_cache = draw.random() < 0.15
    if with_cache:
        schedule.append(Planned(0, "with_cache"))
    if draw.random() < 0.1:
        schedule.append(Planned(0, "no_worker"))
    # By another generator, so that schedules of runs without a page are what they were before there was one.
    with_page = random.Random(f"page {seed}").random() < 0.6
    if with_page:
        schedule.append(Planned(0, "with_page"))
    absent = (set() if with_cache else OF_THE_CACHE) | (set() if with_page else OF_THE_PAGE)
    kinds = [name for name in MADE if name not in absent]
    if draw.random() < 0.35:
        kinds = [draw.choice(kinds)]
    weights = [OFTEN.get(name, 1) for name in kinds]
    for _ in range(max(1, round(seconds / EVERY))):
        [name] = draw.choices(kinds, weights)
        at = round(draw.uniform(0.08, 0.85) * seconds, 1)
        arguments = tuple(str(argument) for argument in MADE[name](draw))
        schedule.append(Planned(at, name, arguments))
    return sorted(schedule, key=lambda each: each.at)


MOST_RERUNS = 12


def shortest(
    schedule: list[Planned], fails: Callable[[list[Planned]], bool], most: int = MOST_RERUNS
) -> list[Planned]:
    """The schedule without the faults that it fails without. Asks `fails` at most so many times."""
    position = 0
    while position < len(schedule) and most:
        shorter, most = schedule[:position] + schedule[position + 1 :], most - 1
        if fails(shorter):
            schedule = shorter
        else:
            position += 1
    return schedule


async def inject(schedule: Iterable[Planned], system: System, recorder: Recorder) -> None:
    """Make each fault happen at its time. Returns when all are over."""
    await asyncio.gather(*(_inject(each, system, recorder) for each in schedule))


async def _inject(planned: Planned, system: System, recorder: Recorder) -> None:
    await asyncio.sleep(max(0.0, planned.at - recorder.now()))
    arguments = {"arguments": list(planned.arguments)}
    with recorder.fault(planned.name, arguments) as happened:
        if planned.name in CONDITIONS:
            return
        try:
            happened.note = await ACTS[planned.name](system, *planned.arguments)
        except psutil.NoSuchProcess as exc:  # it had just ended by another fault
            happened.note = str(exc)
