"""gunicorn's ASGI worker with limits of its own, and an end that loses nothing."""

import asyncio
import gc
import os
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

HEAD_SECONDS = 10.0  # from the connection to the end of its first request's headers
DRAIN_SECONDS = 15.0  # for requests in flight, once the end is asked for; below graceful_timeout


class Connection(ASGIProtocol):  # type: ignore[misc]
    """One client. gunicorn waits for ever for a first request, and takes any number of clients."""

    worker: "Worker"
    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.worker.clients.add(self)
        if len(self.worker.clients) > self.worker.cfg.worker_connections:
            self._send_error_response(503, "Too many connections", (("Retry-After", "1"),))
            self._close_transport()
            return
        self._impatience = self.worker.loop.call_later(HEAD_SECONDS, self._close_transport)

    def _on_headers_complete(self) -> Any:
        self._be_patient()
        return super()._on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        self.worker.clients.discard(self)
        super().connection_lost(exc)

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def close_if_idle(self) -> None:
        """No request is on its way here, and none is answered."""
        if self._current_request is None and not self._finishing_calls:
            self._close_transport()


class Worker(ASGIWorker):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clients: set[Connection] = set()

    def load_wsgi(self) -> None:
        """The front, also for `gunicorn ticketbook.wsgi`, which was the command before there was one."""
        from ticketbook.asgi import application  # not before Django is set up

        self.asgi = application

    async def _serve(self) -> None:
        """Until the end is asked for; then in order: no new clients, what is in flight, the lanes."""
        self.asgi.start()
        # What is loaded now stays: the garbage collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.servers = [
            await self.loop.create_server(
                lambda: Connection(self), sock=listener.sock, backlog=self.cfg.backlog
            )
            for listener in self.sockets
        ]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(0.2)
        self.asgi.draining = True
        for server in self.servers:
            server.close()
        await self.drain()
        if not self._quick_shutdown:
            await self.asgi.end()

    async def drain(self) -> None:
        deadline = self.loop.time() + DRAIN_SECONDS
        while not self._quick_shutdown and self.loop.time() < deadline:
            for client in list(self.clients):
                client.close_if_idle()
            if not self.clients and not self.asgi.at_work:
                return
            self.notify()
            await asyncio.sleep(0.05)
