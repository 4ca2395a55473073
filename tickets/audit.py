"""Compares tickets with their bookings, as a part of `manage.py audit_inventory`."""

from collections.abc import Iterator

from bookings.audit import many, name_of, rows_of
from bookings.models import Booking

# Confirmed bookings that were fulfilled and lack tickets, or whose valid tickets are not those that they
# kept; tickets of a booking that was never confirmed; numbers above the quantity. Bookings that wait for the
# worker, or are from before there were tickets, have none or all.
WRONG_TICKETS = """
SELECT booking.id, ticket_tier_id, booking.status, quantity, returned_quantity,
       coalesce(made, 0), coalesce(valid, 0)
FROM bookings_booking booking
LEFT JOIN (
    SELECT booking_id, count(*) AS made, count(*) FILTER (WHERE returned_at IS NULL) AS valid,
           max(number) AS highest
    FROM tickets_ticket GROUP BY booking_id
) AS ticket ON booking_id = booking.id
WHERE booking.status IN ('PENDING', 'FAILED') AND made > 0
   OR booking.status IN ('CONFIRMED', 'CANCELLED') AND made > 0 AND (made <> quantity OR highest <> quantity)
   OR booking.status = 'CONFIRMED' AND made > 0 AND valid <> quantity - returned_quantity
   OR booking.status = 'CONFIRMED' AND made IS NULL AND fulfilled_at > 'epoch'
ORDER BY booking.id
"""

# Bookings that may have a valid ticket which went back: a return names it, or a return that names none took
# the last tickets, and yet those that are valid are not the first ones.
VALID_THOUGH_RETURNED = """
SELECT booking.id
FROM bookings_booking booking
JOIN bookings_return made ON made.booking_id = booking.id
JOIN tickets_ticket ticket ON ticket.booking_id = booking.id AND returned_at IS NULL
WHERE booking.status = 'CONFIRMED'
GROUP BY booking.id
HAVING bool_or(number = ANY(numbers))
    OR bool_or(numbers = '{}') AND max(number) <> count(DISTINCT number)
"""


def wrong_tickets() -> Iterator[str]:
    """A sentence for each booking whose tickets are not what it says."""
    for pk, tier_id, status, quantity, returned, made, valid in rows_of(WRONG_TICKETS):
        yield (
            f"Booking {pk}, {name_of(tier_id)}: it is {status}, of {many(quantity, 'ticket')} it has "
            f"returned {returned}, but {made} were made, and {valid} of them were not returned."
        )
    yield from _other_tickets_than_returned()


def _other_tickets_than_returned() -> Iterator[str]:
    # As many as there should be, but not those that went back.
    suspects = [pk for (pk,) in rows_of(VALID_THOUGH_RETURNED)]
    bookings = Booking.objects.filter(pk__in=suspects).prefetch_related("returns", "tickets")
    for booking in bookings.order_by("pk"):
        valid = sorted(each.number for each in booking.tickets.all() if each.returned_at is None)
        kept = booking.kept_numbers
        if len(valid) == len(kept) and valid != kept:
            yield (
                f"Booking {booking.pk}, {name_of(booking.ticket_tier_id)}: by its returns it keeps the "
                f"tickets {kept}, but those that were not returned are {valid}."
            )
