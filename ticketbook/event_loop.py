"""The event loop of this process: the web server's own, or one on a thread of its own.

There is one, because what lives on a loop (a gateway's connections) cannot be shared with another.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def use(loop: asyncio.AbstractEventLoop) -> None:
    """The web server says which loop it runs."""
    global _loop
    with _lock:
        _loop = loop


def event_loop() -> asyncio.AbstractEventLoop:
    """The process's loop; the first call outside of the web server starts one."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="event loop", daemon=True).start()
        return _loop


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run it on the process's loop, and wait here for what it returns or raises.

    Raises RuntimeError on the loop itself, which would wait for itself for ever.
    """
    loop = event_loop()
    if asyncio._get_running_loop() is loop:
        coroutine.close()
        raise RuntimeError("The event loop cannot wait for itself. Await the coroutine instead.")
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
