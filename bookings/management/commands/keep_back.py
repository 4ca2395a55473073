from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.management import staff_input
from concerts import stock
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = (
        "Set how many tickets of a tier are kept back, so that they are not on sale. The change is "
        "written to the tier's history in the admin."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tier_id", metavar="TIER_ID")
        parser.add_argument("number", metavar="NUMBER", help="tickets in all; 0 to sell them again")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, tier_id: str, number: str, by: str, reason: str, **options: Any) -> None:
        try:
            with staff_input.if_busy("The tier is busy; nothing was changed. Try again."):
                old, tier = stock.keep_back(
                    tier_id=staff_input.tier(tier_id).pk,
                    tickets=staff_input.whole("NUMBER", number),
                    by=staff_input.staff(by),
                    reason=staff_input.given(reason),
                    now=clock.ask(),
                )
        except stock.NotEnoughFree as refusal:
            available, kept = refusal.facts["available"], refusal.facts["keptBack"]
            raise CommandError(
                f"{kept:,} tickets are kept back and {available:,} more are available: "
                f"choose at most {kept + available:,}."  # type: ignore[operator]
            ) from None
        self.stdout.write(
            f"{tier.get_tier_type_display()} of “{tier.concert.name}”: kept back {old:,} → "
            f"{tier.kept_back:,}, {tier.available_quantity:,} available."
        )
