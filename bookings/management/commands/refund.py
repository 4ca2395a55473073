from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.errors import NothingToRefund, RefundTooLarge
from bookings.management import staff_input
from bookings.refunding import give_money_back
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = "Give money of a booking back as goodwill. The customer keeps the tickets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("booking_id", metavar="BOOKING_ID")
        parser.add_argument("amount", metavar="AMOUNT", help="of money, in CURRENCY")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, booking_id: str, amount: str, by: str, reason: str, **options: Any) -> None:
        try:
            with staff_input.if_busy("The booking is busy; nothing was changed. Try again."):
                refund = give_money_back(
                    staff_input.booking(booking_id),
                    staff_input.amount("AMOUNT", amount),
                    by=staff_input.staff(by),
                    note=staff_input.given(reason),
                    now=clock.ask(),
                )
        except RefundTooLarge as refusal:
            most = refusal.facts["refundable"]
            raise CommandError(f"AMOUNT: {most} of the price is left to give back.") from None
        except NothingToRefund:
            raise CommandError("The booking has no money to give back.") from None
        self.stdout.write(f"Booking {refund.booking_id}, refund {refund.pk}: {refund.outcome}")
