from argparse import ArgumentParser
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from bookings.desk import Order, Waivers, book, why_not
from bookings.errors import BookingError, IdempotencyKeyReused
from bookings.gateways.named import FREE
from bookings.management import staff_input
from bookings.models import MAX_QUANTITY, Booking
from bookings.placing import Placed
from bookings.wishes import StaffDecision
from ticketbook.errors import NotFound
from ticketbook.postgres import clock

SOURCES = [source.value for source in Booking.Source if source != Booking.Source.ONLINE]
WAIVERS = Waivers(sales_times="add --waive-sales-times", limit="add --waive-limit")


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
        order = _order(tier_id, quantity, **options)
        again = f"--key {order.key}"
        busy = f"The tier is busy. Try again with {again}, so that it is booked once."
        try:
            with staff_input.if_busy(busy):
                placed = book(order, now=clock.ask())
        except (BookingError, NotFound) as refusal:
            raise CommandError(_why_not(refusal, order)) from None
        self.stdout.write(_outcome(placed, order))


def _order(
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
) -> Order:
    decision = StaffDecision(
        by=staff_input.staff(by),
        source=Booking.Source(source),
        gateway=paid_by,
        note=staff_input.given(reason),
        from_kept_back=from_kept_back,
        waives_sales_times=waive_sales_times,
        waives_limit=waive_limit,
    )
    account = staff_input.active_user("--for", customer)
    return Order(
        tier_id=staff_input.tier(tier_id).pk,
        quantity=staff_input.whole("QUANTITY", quantity, 1, MAX_QUANTITY),
        name=account.name,
        email=account.email,
        key=staff_input.key("--key", key) if key else uuid4(),
        decision=decision,
    )


def _why_not(refusal: BookingError | NotFound, order: Order) -> str:
    if isinstance(refusal, IdempotencyKeyReused):
        return f"--key {order.key} belongs to another booking of {order.email}."
    return why_not(refusal, order, WAIVERS)


def _outcome(placed: Placed, order: Order) -> str:
    booking = placed.booking
    if booking.status == Booking.Status.PENDING:
        raise CommandError(
            f"Booking {booking.pk} is not settled yet. Run this again with --key "
            f"{order.key} in a minute."
        )
    if booking.status != Booking.Status.CONFIRMED:
        raise CommandError(f"Booking {booking.pk} of this key is {booking.get_status_display()}.")
    done = "was booked before" if placed.replayed else "is booked"
    return (
        f"{booking.quantity} × {booking.ticket_tier} {done} for {order.email}: booking {booking.pk}"
    )
