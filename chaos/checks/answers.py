"""Clients were answered: in time, and not with an error of ours."""

import re
from collections.abc import Iterator
from math import inf

from chaos.case import Case, Finding, who_asked
from chaos.history import BUSY_MACHINE, UNKNOWN, Attempt, Fault

# What keeps nobody from an answer. Everything else may, and for so many seconds after it is over.
HARMLESS = {"kill_worker", "clock", "flush_cache", "kill_cache"}
HARMLESS |= {"no_worker", "with_cache", "with_page"}
RECOVERS = 10.0
RECOVERS_LATER = {
    "kill_master": 40.0
}  # a new one starts when all processes of the old one have ended
# Who kills processes of the web server may leave none. If the machine had no time for us in this run, new
# ones take long. Then RECOVERS begins when somebody is answered again, within the time of a start.
KILLS_SERVERS = {"kill_web", "kill_master"}
UP_AGAIN = 90.0
BOUND = 14.0  # seconds; who gives up earlier shows nothing, because a busy machine is slow
LONG_DELAY = 1.0  # seconds; a failpoint that waits as long may keep a request from its answer


def no_answer(case: Case) -> Iterator[Finding]:
    """Every request is answered within BOUND, and no connection breaks off, unless a fault is in the way."""
    if _failpoints_keep_answers_back(case.history.header.failpoints):
        return
    for attempt in http(case):
        waited = attempt.ended - attempt.began
        gave_up = "TimeoutError" in attempt.error and waited < BOUND
        silent = attempt.outcome == UNKNOWN and not attempt.status and not gave_up
        if silent and not _excuse(case, attempt):
            yield Finding(
                f"{who_asked(attempt)} got no answer to {attempt.verb} within {waited:.1f} seconds "
                f"({attempt.error}), and no fault explains it.",
                (attempt,),
            )


def server_error(case: Case) -> Iterator[Finding]:
    """Whatever the faults, the site says "busy" (503) when it cannot serve. Another 5xx is a bug."""
    if "=raise" in case.history.header.failpoints:
        return
    for attempt in http(case):
        if attempt.status >= 500 and attempt.status != 503:
            code = f" {attempt.code}" if attempt.code else ""
            yield Finding(
                f"{who_asked(attempt)} was answered {attempt.status}{code} to {attempt.verb}.",
                (attempt,),
            )
    for attempt in case.history.attempts:
        if attempt.client == "staff" and attempt.error.startswith("IntegrityError"):
            yield Finding(
                f"{who_asked(attempt)} met a rule of the database, which a verb has to look at before: "
                f"{attempt.error.splitlines()[0]}",
                (attempt,),
            )


def http(case: Case) -> list[Attempt]:
    """What clients asked of the site. Staff act in a process of their own, and customers pay elsewhere."""
    return [
        attempt
        for attempt in case.history.attempts
        if attempt.client != "staff" and attempt.verb != "pay"
    ]


def _excuse(case: Case, attempt: Attempt) -> Fault | None:
    faults = case.history.faults
    return next((fault for fault in faults if _is_in_the_way(case, fault, attempt)), None)


def _is_in_the_way(case: Case, fault: Fault, attempt: Attempt) -> bool:
    if fault.name in HARMLESS:
        return False
    over = (fault.ended or inf) + RECOVERS_LATER.get(fault.name, RECOVERS)
    if fault.name in KILLS_SERVERS:
        over = max(over, _up_again(case, fault) + RECOVERS)
    return fault.began <= attempt.ended and attempt.began <= over


def _up_again(case: Case, fault: Fault) -> float:
    """When somebody was answered whose request began after the fault, if the machine was busy."""
    if not any(each.name == BUSY_MACHINE for each in case.history.faults):
        return fault.ended
    answered = (each.ended for each in http(case) if each.status and each.began > fault.ended)
    return min([*answered, fault.ended + UP_AGAIN])


def _failpoints_keep_answers_back(failpoints: str) -> bool:
    delays = map(float, re.findall(r"=delay ([0-9.]+)", failpoints))
    return "=kill" in failpoints or any(delay >= LONG_DELAY for delay in delays)
