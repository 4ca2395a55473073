import sys

from django.core.management.base import BaseCommand
from tqdm import tqdm

from bookings.audit import Tally, differences
from concerts.models import TicketTier


class Command(BaseCommand):
    help = (
        "Compare every tier's stock with its bookings. Changes nothing; exit code 1: they differ."
    )

    def handle(self, **options: object) -> None:
        tally = Tally()
        # disable=None: no bar when stderr is not a terminal.
        with tqdm(total=TicketTier.objects.count(), unit=" tiers", disable=None) as bar:
            for sentence in differences(tally, progress=bar.update):
                bar.clear()
                self.stdout.write(sentence)
        self.stdout.write(str(tally))
        if tally.differences:
            sys.exit(1)
