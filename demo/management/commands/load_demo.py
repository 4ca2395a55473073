import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from demo import bulk, staging
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = (
        "Load the demo concerts and three log-ins, and print these. With --concerts and --bookings "
        "also a large catalogue, topped up to that many. What is there already stays as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--concerts", type=int, default=0, help="of three tiers each")
        parser.add_argument("--bookings", type=int, default=0, help="of these concerts' tickets")
        parser.add_argument(
            "--yes", action="store_true", help="also on the server that DATABASE_URL names"
        )

    def handle(self, *, concerts: int, bookings: int, yes: bool, **options: Any) -> None:
        if concerts < 0 or bookings < 0:
            raise CommandError("--concerts and --bookings must not be negative.")
        if bookings and not concerts:
            raise CommandError("--bookings needs --concerts: say how many concerts to book.")
        if not (settings.EMBEDDED or settings.DEBUG or yes):
            raise CommandError(
                "DATABASE_URL names a server, and the demo has a staff log-in that everybody "
                "knows. Add --yes if this server is not for real customers."
            )
        added = staging.load_demo(now=clock.ask())
        self.stdout.write(
            f"{added} demo concerts are new." if added else "The demo concerts are there."
        )
        if concerts:
            self.load_bulk(concerts, bookings)
        self.stdout.write(f"Log in with:\n\n{staging.describe_log_ins()}")

    def load_bulk(self, concerts: int, bookings: int) -> None:
        start = time.monotonic()
        # disable=None: no bar when stderr is not a terminal.
        with tqdm(total=bookings, unit=" bookings", disable=None) as bar:
            bulk.load_bulk(concerts=concerts, bookings=bookings, progress=bar.update)
        bulk.vacuum()
        self.stdout.write(
            f"The large catalogue has {bulk.have_concerts():,} concerts and "
            f"{bulk.have_bookings():,} bookings ({time.monotonic() - start:.0f} s)."
        )
