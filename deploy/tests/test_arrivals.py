"""Customers who come at a fixed rate are counted by what each of them was told."""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import replace

from bench.arrivals import LENGTH
from chaos.history import Header, History
from deploy.failover import report
from deploy.failover.figures import arrivals_in, errors_of, is_acknowledged
from deploy.tests.test_figures import GOOD
from ticketbook.environment import BASE_DIR

BOOKED = b'{"id": "b"}'
BUSY = b'{"code": "busy"}'
ANSWERS = [
    b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(BOOKED), BOOKED),
    # As HAProxy says it: without a length, and the connection ends.
    b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" + BUSY,
    b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(BUSY), BUSY),
    b"",
]


class Site:
    """Gives each of ANSWERS in turn. An empty one cuts the connection."""

    def __init__(self):
        self.given = Counter()
        self.enough = asyncio.Event()

    async def serve(self, reader, writer):
        answer = b"Content-Length"
        while b"Content-Length" in answer:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # the customers have gone
                break
            await reader.readexactly(int(LENGTH.search(head)[1]))
            answer = ANSWERS[self.given.total() % len(ANSWERS)]
            self.given[answer] += 1
            writer.write(answer)
            if self.given.total() == 40:
                self.enough.set()
        writer.close()


async def crowd(journal):
    """Let customers come until the site has answered often enough. Returns their summary, and the answers."""
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    [listener] = server.sockets
    plan = {"port": listener.getsockname()[1], "tier": "t", "tokens": ["x"], "rate": 100}
    plan |= {"seconds": 600, "connections": 20, "journal": str(journal)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.arrivals"),
        cwd=BASE_DIR,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    process.stdin.write(json.dumps(plan).encode())
    process.stdin.write_eof()
    await site.enough.wait()
    process.terminate()
    out, _ = await process.communicate()
    server.close()
    return json.loads(out), [site.given[answer] for answer in ANSWERS]


def test_every_customer_is_noted_with_what_they_were_told(tmp_path):
    journal = tmp_path / "journal"
    summary, given = asyncio.run(asyncio.wait_for(crowd(journal), 120))
    booked, busy, busy_for_ever, cut = given
    told = arrivals_in(journal, zero=0.0)
    assert sum(map(is_acknowledged, told)) == summary["answers"]["201"] == booked
    assert errors_of(History(Header(1, [], "", 0.0), told), since=0.0) == {
        "503 busy": busy,
        "503 busy without Retry-After": busy_for_ever,
        "connection lost": cut,
    }
    assert summary["lost"] == cut


def test_the_report_says_what_came_of_a_fixed_rate():
    came = {
        "asked": 200,
        "offered": 199.5,
        "booked": 180.2,
        "requests": 5000,
        "slowest": 2.9,
        "left": 3,
    }
    errors = {"503 busy": 271, "connection lost": 2}
    told = report.text([replace(GOOD, errors=errors, arrivals=came)], clients=8, not_tried=[])
    assert (
        "| 200/s | 199.5/s | 180.2/s | 5000 | 271 | 2 × connection lost | 4.2 s | 2.9 s | 3 |"
        in told
    )
    assert "Requests failed: 2 × connection lost." in told
