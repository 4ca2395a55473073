from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from bookings.management import staff_input
from concerts.calling_off import call_off
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = (
        "Call off a concert, for good: all its bookings are cancelled, and their money goes back. Running it "
        "again does no harm."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("concert_id", metavar="CONCERT_ID")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, concert_id: str, by: str, reason: str, **options: Any) -> None:
        concert = staff_input.concert(concert_id)
        with staff_input.if_busy("The concert is busy; nothing was changed. Try again."):
            said = call_off(
                concert.pk,
                by=staff_input.staff(by),
                note=staff_input.given(reason),
                now=clock.ask(),
            )
        self.stdout.write(" ".join([f"“{concert.name}” is called off.", *said]))
