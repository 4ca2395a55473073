"""`python -m bench.signups`: how fast pages are while many people sign up at once.

SIGN_UPS customers sign up through the API at the same moment. Meanwhile one visitor opens the list of
concerts, page after page. The search differs each time, so every page is made by Django and the database.
The server has its usual settings; PASSWORD_THREADS, for example, may be set in the environment.
"""

import http.client
import json
import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from time import perf_counter, sleep

from bench.servers import Server, server
from bench.site import SMALL

SIGN_UPS = 64
QUIET_SECONDS = 3.0
LONGEST = 300.0  # seconds for one request
BETWEEN_PAGES = 0.01  # seconds


def main() -> None:
    SMALL.fill(concerts=0, bookings=0)
    with server() as site:
        open_pages(site, until=1.0)  # to warm up
        report("pages, nobody signs up", open_pages(site, until=QUIET_SECONDS))
        start = Barrier(SIGN_UPS)
        with ThreadPoolExecutor(SIGN_UPS) as crowd:
            began = perf_counter()
            answers = [crowd.submit(sign_up, site, start) for _ in range(SIGN_UPS)]
            pages = open_pages(site, until=answers)
            waits = [answer.result()[1] for answer in answers]
            seconds = perf_counter() - began
        report(f"pages, {SIGN_UPS} sign up", pages)
        report("sign-ups", waits)
        statuses = dict(Counter(answer.result()[0] for answer in answers))
        print(f"{SIGN_UPS / seconds:.1f} answers a second, by status: {statuses}")


def sign_up(site: Server, start: Barrier) -> tuple[int, float]:
    """Status and seconds of one sign-up."""
    body = {"email": f"{uuid.uuid4()}@example.com", "password": "correct horse", "name": "Eve"}
    start.wait()
    began = perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=LONGEST)) as client:
        client.request("POST", "/api/v1/users", json.dumps(body))
        status = client.getresponse().status
    return status, perf_counter() - began


def open_pages(site: Server, *, until: float | list[Future[tuple[int, float]]]) -> list[float]:
    """Open pages one after the other; returns how many seconds each took.

    `until` is the number of seconds to go on, or the calls whose end to wait for.
    """
    taken: list[float] = []
    began = perf_counter()
    while perf_counter() < began + (until if isinstance(until, float) else LONGEST):
        if isinstance(until, list) and all(each.done() for each in until):
            break
        sent = perf_counter()
        with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=LONGEST)) as client:
            client.request("GET", f"/concerts/?q={uuid.uuid4().hex}")
            answer = client.getresponse()
            answer.read()
        assert answer.status == 200, answer.status
        taken.append(perf_counter() - sent)
        sleep(BETWEEN_PAGES)
    return taken


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    median, p95, most = (ordered[int(len(ordered) * share)] for share in (0.5, 0.95, 0.9999))
    print(f"{what:26} median {median:7.3f} s   p95 {p95:7.3f} s   longest {most:7.3f} s")


if __name__ == "__main__":
    main()
