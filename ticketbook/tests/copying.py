"""Something to copy, and requests for its copy."""

import time

from ticketbook.copies import store
from ticketbook.copies.store import Copy, copy_of

TOLERANCE = 0.05  # seconds


class Source:
    """A value that changes, and that takes time to read; counts how often it was read."""

    def __init__(self, value="old", *, takes=0.0):
        self.value, self.takes = value, takes
        self.readings = 0
        self.read_at = 0.0

    def __call__(self):
        self.readings += 1
        self.read_at = time.monotonic()
        value = self.value
        time.sleep(self.takes)
        return Copy({"value": value}, value.encode())


def ask(make, key="key"):
    """What a request for the key is answered; `make` reads it if there is no copy."""
    copy = copy_of(key, make)
    assert copy.body == copy.head["value"].encode()
    return copy.body.decode()


def in_another_process():
    """From here on the test plays another process: it has only what is at the cache server."""
    store._entries.clear()


def quickest(work, times=5):
    """The fewest seconds that it takes, of several times: other work on the machine only adds to them."""
    took = []
    for n in range(times):
        start = time.monotonic()
        work(n)
        took.append(time.monotonic() - start)
    return min(took)
