"""A mail server of the tests' own. A test says how it misbehaves."""

import asyncio
import email
import email.policy
from collections.abc import Callable
from typing import Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from ticketbook.tests.running import free_port

Verdict = str | None  # an answer such as "550 no", or None to accept


class MailServer:
    """Keeps what it has accepted. `rcpt` and `data` say how it answers; they may sleep, or close it all."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.accepted: list[email.message.EmailMessage] = []
        self.rcpt: Callable[[str], Verdict] = lambda address: None
        self.data: Callable[[email.message.EmailMessage], Verdict] = lambda message: None
        self.connections = 0
        self.hangs = 0.0  # seconds before each answer to DATA
        self.drops_after_data = 0  # so many times: accept, and close without an answer
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        return [message["Message-ID"] for message in self.accepted]

    def start(self) -> Self:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()
        return self

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What aiosmtpd asks of a handler.

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := self.rcpt(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session, envelope):
        if self.hangs:
            await asyncio.sleep(self.hangs)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        if answer := self.data(message):
            return answer
        self.accepted.append(message)
        if self.drops_after_data:
            self.drops_after_data -= 1
            server.transport.abort()
        return "250 OK"
