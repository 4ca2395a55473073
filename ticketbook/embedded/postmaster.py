"""A running server and its main process."""

import os
import select
import signal
import time

import psutil

STOP_LIMIT = 60  # seconds


class Postmaster:
    def __init__(self, process: psutil.Process, port: int) -> None:
        self.process = process
        self.port = port
        self._pidfd = _open_pidfd(process.pid)

    def is_alive(self) -> bool:
        # Asked for every connection, so it has to be cheap.
        if self._pidfd is None:
            return _is_alive(self.process)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)  # a pidfd becomes readable when its process ends

    def stop(self) -> None:
        """Shut down fast, and return when the process is gone."""
        try:
            self.process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            return
        deadline = time.monotonic() + STOP_LIMIT
        while _is_alive(self.process) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old one
        return None


def _is_alive(process: psutil.Process) -> bool:
    # A zombie counts as dead: in a container nobody may be there to reap it.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
