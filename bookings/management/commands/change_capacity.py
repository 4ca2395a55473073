from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.management import staff_input
from concerts import stock
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = "Set how many tickets a tier has in all. The change is written to the tier's history in the admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tier_id", metavar="TIER_ID")
        parser.add_argument("total", metavar="TOTAL", help="tickets, sold ones included")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, tier_id: str, total: str, by: str, reason: str, **options: Any) -> None:
        try:
            with staff_input.if_busy("The tier is busy; nothing was changed. Try again."):
                old, tier = stock.change_capacity(
                    tier_id=staff_input.tier(tier_id).pk,
                    total=staff_input.whole("TOTAL", total),
                    by=staff_input.staff(by),
                    reason=staff_input.given(reason),
                    now=clock.ask(),
                )
        except stock.CapacityBelowSold as refusal:
            sold = refusal.facts["sold"]
            raise CommandError(
                f"{sold:,} tickets are sold, held or kept back: choose at least that."
            ) from None
        self.stdout.write(
            f"{tier.get_tier_type_display()} of “{tier.concert.name}”: capacity {old:,} → "
            f"{tier.total_quantity:,}, {tier.available_quantity:,} available."
        )
