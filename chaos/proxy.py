"""A TCP proxy between the site and what it talks to, which cuts, delays and stops what passes through it.

It runs on an event loop of its own, in a thread. Its methods may be called from any thread.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

CHUNK = 64 * 1024  # bytes

# How a statement looks on the wire: its text and a zero byte, in the simple and in the extended protocol.
COMMIT = b"COMMIT\0"
# Confirmations are one statement without a transaction around it, so it commits by itself.
SETTLE = b"UPDATE bookings_booking booking"


@dataclass
class _Cut:
    marker: bytes
    left: int  # how many more of them are cut
    answer_lost: bool


class _Link:
    """One connection of a client, and ours to the server for it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.deaf = False  # the next answer is lost, and then the link is cut
        self.answered = True  # nothing was sent up since the last answer

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    def __init__(self, server_port: Callable[[], int]) -> None:
        self.port = 0
        self.cuts_made = 0
        self.round_trips = 0  # begun, by all connections
        self._server_port = server_port
        self._loop = uvloop.new_event_loop()
        self._links: set[_Link] = set()
        self._cut: _Cut | None = None
        self._delay = 0.0
        self._up, self._down = asyncio.Event(), asyncio.Event()  # set: what goes this way passes
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # --- Faults -------------------------------------------------------------------------------------------

    def cut_all(self) -> None:
        """Reset all connections. New ones pass."""
        self._call(self._cut_all)

    def cut_at(self, marker: bytes, times: int, *, answer_lost: bool) -> None:
        """Cut the connections that send the next `times` statements with the marker in them.

        The server gets the statement and its answer is lost, or the statement never reaches the server.
        """
        self._call(lambda: setattr(self, "_cut", _Cut(marker, times, answer_lost)))

    def cut_no_more(self) -> None:
        self._call(lambda: setattr(self, "_cut", None))

    def delay(self, seconds: float) -> None:
        """Pass on everything so much later."""
        self._call(lambda: setattr(self, "_delay", seconds))

    def stop_passing(self, *, up: bool, down: bool) -> None:
        """Keep all sockets open, and pass nothing on to the server (`up`) or to clients (`down`)."""
        for direction, wanted in ((self._up, up), (self._down, down)):
            if wanted:
                self._call(direction.clear)

    def heal(self, *, cut: bool) -> None:
        """End all faults. What was held back passes on, or its connections are cut."""
        self._call(lambda: self._heal(cut=cut))

    # --- On the loop --------------------------------------------------------------------------------------

    def _call(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _cut_all(self) -> None:
        for link in list(self._links):
            link.cut()
            self.cuts_made += 1

    def _heal(self, *, cut: bool) -> None:
        if cut:
            self._cut_all()
        self._delay, self._cut = 0.0, None
        self._up.set()
        self._down.set()

    async def _listen(self) -> int:
        self._up.set()
        self._down.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        self._cut_all()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            await self._up.wait()
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._server_port())
        except OSError:
            client.transport.abort()
            return
        link = _Link(client, server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pass_up(reader, link), self._pass_down(server_reader, link))
        except (OSError, RuntimeError):  # uvloop raises the latter if the other end was cut
            pass
        finally:
            link.cut()
            self._links.discard(link)

    async def _pass_up(self, reader: asyncio.StreamReader, link: _Link) -> None:
        tail = b""  # a marker may be in two chunks
        while data := await reader.read(CHUNK):
            self.round_trips += link.answered
            link.answered = False
            await self._hold(self._up)
            if cut := self._cut_for(tail + data):
                self.cuts_made += 1
                if not cut.answer_lost:
                    link.cut()
                    return
                link.deaf = True
            tail = data[-64:] if self._cut else b""
            link.server.write(data)
            await link.server.drain()
        link.server.close()  # what was sent still arrives

    async def _pass_down(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await reader.read(CHUNK):
            if link.deaf:
                break
            await self._hold(self._down)
            link.answered = True
            link.client.write(data)
            await link.client.drain()
        link.cut()  # the server has gone, and with it what the client may still send

    async def _hold(self, open_: asyncio.Event) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        if not open_.is_set():
            await open_.wait()

    def _cut_for(self, data: bytes) -> _Cut | None:
        cut = self._cut
        if cut is None or cut.marker not in data:
            return None
        cut.left -= 1
        if cut.left <= 0:
            self._cut = None
        return cut
