from argparse import ArgumentParser
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from bookings.errors import (
    BookingError,
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    SalesClosed,
)
from bookings.gateways.named import FREE
from bookings.management import staff_input
from bookings.models import MAX_QUANTITY, Booking
from bookings.placing import Placed, place
from bookings.wishes import StaffDecision, Wish
from ticketbook.errors import NotFound
from ticketbook.postgres import clock

SOURCES = [source.value for source in Booking.Source if source != Booking.Source.ONLINE]


class Command(BaseCommand):
    help = (
        "Book tickets for somebody: free, or paid in cash. It takes the tier's lock and stock as every "
        "booking does, and the booking's history in the admin says who made it and why."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tier_id", metavar="TIER_ID")
        parser.add_argument("quantity", metavar="QUANTITY", help=f"tickets, 1 to {MAX_QUANTITY}")
        parser.add_argument("--for", dest="customer", required=True, help="e-mail of the customer")
        parser.add_argument("--source", required=True, choices=SOURCES)
        parser.add_argument("--paid-by", choices=["cash"], default=FREE, help="default: it is free")
        parser.add_argument("--from-kept-back", action="store_true", help="use kept-back tickets")
        parser.add_argument(
            "--waive-sales-times", action="store_true", help="also before and after the sale"
        )
        parser.add_argument(
            "--waive-limit", action="store_true", help="also above the limit for one customer"
        )
        parser.add_argument("--key", help="idempotency key (a UUID): the same key books once")
        staff_input.add_by_and_reason(parser)

    def handle(self, *, tier_id: str, quantity: str, **options: Any) -> None:
        wish = _wish(tier_id, quantity, **options)
        again = f"--key {wish.idempotency_key}"
        busy = f"The tier is busy. Try again with {again}, so that it is booked once."
        try:
            with staff_input.if_busy(busy):
                placed = place(wish)
        except (BookingError, NotFound) as refusal:
            raise CommandError(_why_not(refusal, wish, options)) from None
        self.stdout.write(_outcome(placed, wish, options["customer"]))


def _wish(
    tier_id: str,
    quantity: str,
    *,
    customer: str,
    source: str,
    paid_by: str,
    from_kept_back: bool,
    waive_sales_times: bool,
    waive_limit: bool,
    key: str | None,
    by: str,
    reason: str,
    **options: Any,
) -> Wish:
    decision = StaffDecision(
        by=staff_input.staff(by),
        source=Booking.Source(source),
        gateway=paid_by,
        note=staff_input.given(reason),
        from_kept_back=from_kept_back,
        waives_sales_times=waive_sales_times,
        waives_limit=waive_limit,
    )
    return Wish(
        user=staff_input.active_user("--for", customer),
        ticket_tier_id=staff_input.tier(tier_id).pk,
        quantity=staff_input.whole("QUANTITY", quantity, 1, MAX_QUANTITY),
        idempotency_key=staff_input.key("--key", key) if key else uuid4(),
        arrived_at=clock.ask(),
        staff=decision,
    )


def _why_not(refusal: BookingError | NotFound, wish: Wish, options: dict[str, Any]) -> str:
    facts = refusal.facts
    if isinstance(refusal, NotFound):  # the tier exists
        return "The concert is a draft. Publish it first."
    if isinstance(refusal, InsufficientTickets):
        are = "kept back" if options["from_kept_back"] else "available"
        return f"Only {facts['availableQuantity']:,} tickets are {are}."
    if isinstance(refusal, SalesClosed):
        if options["waive_sales_times"]:
            return "The concert was called off."
        return f"The concert is not on sale now; add --waive-sales-times. {refusal.why}".strip()
    if isinstance(refusal, CustomerLimitReached):
        return (
            f"{options['customer']} has {facts['alreadyBooked']} of at most "
            f"{facts['maxPerCustomer']} tickets of this tier; add --waive-limit."
        )
    if isinstance(refusal, IdempotencyKeyReused):
        return f"--key {wish.idempotency_key} belongs to another booking of {options['customer']}."
    return str(refusal)


def _outcome(placed: Placed, wish: Wish, customer: str) -> str:
    booking = placed.booking
    if booking.status == Booking.Status.PENDING:
        raise CommandError(
            f"Booking {booking.pk} is not settled yet. Run this again with --key "
            f"{wish.idempotency_key} in a minute."
        )
    if booking.status != Booking.Status.CONFIRMED:
        raise CommandError(f"Booking {booking.pk} of this key is {booking.get_status_display()}.")
    done = "was booked before" if placed.replayed else "is booked"
    return f"{booking.quantity} × {booking.ticket_tier} {done} for {customer}: booking {booking.pk}"
