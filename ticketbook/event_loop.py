"""The event loop of this process: the web server's, or else one on a thread of its own.

There is only one, because the connections of a gateway belong to the loop that opened them.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def use(loop: asyncio.AbstractEventLoop) -> None:
    # The web server calls this with the loop that it runs.
    global _loop
    with _lock:
        _loop = loop


def event_loop() -> asyncio.AbstractEventLoop:
    # Outside of the web server, the first call starts a loop.
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="event loop", daemon=True).start()
        return _loop


def is_running() -> bool:
    return _loop is not None and _loop.is_running()


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on the process's loop, and wait for what it returns or raises.

    Raises RuntimeError on the loop itself, which would wait for itself for ever.
    """
    loop = event_loop()
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 (the public one raises if there is none)
        coroutine.close()
        raise RuntimeError("The event loop cannot wait for itself. Await the coroutine instead.")
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
