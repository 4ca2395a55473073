from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bookings.cancelling import cancel_for_customer
from bookings.errors import (
    NotCancellable,
    NothingToRefund,
    RefundTooLarge,
    TooManyReturned,
    WasReturned,
)
from bookings.management import staff_input
from bookings.models import MAX_QUANTITY
from ticketbook.postgres import clock


class Command(BaseCommand):
    help = (
        "Give tickets of a confirmed booking back, also after the concert has begun. They go back on "
        "sale, and the customer gets their price unless --refund or --no-refund says otherwise."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("booking_id", metavar="BOOKING_ID")
        parser.add_argument("number", metavar="NUMBER", help="tickets")
        parser.add_argument(
            "--tickets",
            metavar="WHICH",
            help="which tickets of the booking, as 2,4; otherwise the last ones",
        )
        money = parser.add_mutually_exclusive_group()
        money.add_argument("--refund", metavar="AMOUNT", help="give back this amount of money")
        money.add_argument("--no-refund", action="store_true", help="give no money back")
        staff_input.add_by_and_reason(parser)

    def handle(
        self,
        *,
        booking_id: str,
        number: str,
        tickets: str | None,
        by: str,
        reason: str,
        **options: Any,
    ) -> None:
        booking = staff_input.booking(booking_id)
        count = staff_input.whole("NUMBER", number, 1, MAX_QUANTITY)
        try:
            with staff_input.if_busy("The tier is busy; nothing was changed. Try again."):
                made = cancel_for_customer(
                    booking,
                    count,
                    numbers=_which(tickets, count),
                    refund=_refund(**options),
                    by=staff_input.staff(by),
                    note=staff_input.given(reason),
                    now=clock.ask(),
                )
        except TooManyReturned as refusal:
            left = refusal.facts["returnable"]
            raise CommandError(f"The booking has {left} tickets left to return.") from None
        except WasReturned as refusal:
            kept = ", ".join(str(ticket) for ticket in refusal.facts["kept"])  # type: ignore[attr-defined]
            raise CommandError(f"--tickets: the booking has the tickets {kept}.") from None
        except NotCancellable:
            raise CommandError(
                f"Only a confirmed booking has tickets to return. This one is {booking.status}."
            ) from None
        except RefundTooLarge as refusal:
            most = refusal.facts["refundable"]
            raise CommandError(f"--refund: {most} of the price is left to give back.") from None
        except NothingToRefund:
            raise CommandError(
                "The booking has no money to give back. Return the tickets with --no-refund."
            ) from None
        money = made.refund.outcome if made.refund else "No money goes back."
        left = booking.kept_quantity
        self.stdout.write(
            f"{count} of {booking.quantity} tickets of booking {booking.pk} went back on sale; "
            f"it keeps {left}. {money}"
        )


def _refund(*, refund: str | None, no_refund: bool, **options: Any) -> Decimal | None:
    if no_refund:
        return Decimal(0)
    return None if refund is None else staff_input.amount("--refund", refund)


def _which(tickets: str | None, count: int) -> set[int] | None:
    if tickets is None:
        return None
    numbers = {
        staff_input.whole("--tickets", number.strip(), 1, MAX_QUANTITY)
        for number in tickets.split(",")
    }
    if len(numbers) != count:
        raise CommandError(f"--tickets must name as many tickets as NUMBER says, {count}.")
    return numbers
