from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.management import staff_input
from bookings.refunding import send_again, try_to_send
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = "Send a refund again that the payment gateway refused, once the cause is mended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("refund_id", metavar="REFUND_ID")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, refund_id: str, by: str, reason: str, **options: Any) -> None:
        refund = staff_input.refund(refund_id)
        with staff_input.if_busy("The booking is busy. Try again."):
            again = send_again(refund, by=staff_input.staff(by), note=staff_input.given(reason))
            if not again:
                raise CommandError(
                    f"Only a refused refund is sent again. This one is {refund.status}."
                )
            try_to_send(refund.booking, now=clock.ask())
            refund.refresh_from_db()
        self.stdout.write(f"Booking {refund.booking_id}, refund {refund.pk}: {refund.outcome}")
