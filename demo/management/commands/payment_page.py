"""Runs the payment page of the gateway `hosted` in the foreground."""

import asyncio
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from bookings.gateways import hosted
from demo.payment_page.server import serve
from ticketbook.ports import port_problem


class Command(BaseCommand):
    help = (
        "Run the simulated payment page (PAYMENT_DEFAULT=hosted). No money moves. Ctrl-C stops it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.HOSTED_PORT)
        parser.add_argument(
            "--ledger",
            type=Path,
            default=settings.DATA_DIR / "payment_page.sqlite3",
            help="the file with its payments; it is made if it is not there",
        )
        parser.add_argument(
            "--webhooks",
            metavar="URL",
            default=f"{settings.SITE_URL}/payments/hosted/events",
            help="where it tells what became of payments",
        )

    def handle(self, *, port: int, ledger: Path, webhooks: str, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        settings.HOSTED_PORT = port  # the address that it gives to customers
        if problem := port_problem(port):
            raise CommandError(f"{problem} Choose another one: HOSTED_PORT=9001")
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.serve(port=port, ledger_file=ledger, webhook_url=webhooks))

    async def serve(self, **where: Any) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(**where, stop=stop, ready=self.say_where)

    def say_where(self) -> None:
        if self.verbosity:
            self.stdout.write(f"The payment page is ready: {hosted.address()}/")
            self.stdout.flush()
