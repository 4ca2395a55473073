import uuid

from django.db import migrations

CANCELLED = """
UPDATE bookings_booking
SET returned_quantity = quantity, refunded_total = total_price,
    payment_status = CASE WHEN total_price = 0 THEN 'REFUNDED' ELSE payment_status END
WHERE status = 'CANCELLED'
"""
LATE = """
UPDATE bookings_booking SET refunded_total = total_price
WHERE status = 'FAILED' AND payment_status IN ('SUCCESS', 'REFUNDED')
"""
SENT = """
INSERT INTO bookings_refund (booking_id, amount, tickets, reason, status, created_at, sent_at)
SELECT id, total_price, CASE WHEN status = 'CANCELLED' THEN quantity ELSE 0 END,
       CASE WHEN status = 'CANCELLED' THEN 'CANCELLED' ELSE 'LATE' END, 'SENT', updated_at, updated_at
FROM bookings_booking
WHERE payment_status = 'REFUNDED' AND total_price > 0
"""
RETURNS = """
INSERT INTO bookings_return (booking_id, tickets, refund_id, created_at)
SELECT booking.id, quantity, refund.id, booking.updated_at
FROM bookings_booking booking LEFT JOIN bookings_refund refund ON refund.booking_id = booking.id
WHERE booking.status = 'CANCELLED'
"""


def make_due_refunds(apps, editor):
    """Refunds that are owed, but perhaps already sent without an answer.

    They keep the idempotency key under which they may have been sent. With a new one, the money would go
    back twice.
    """
    booking_model = apps.get_model("bookings", "Booking")
    refund_model = apps.get_model("bookings", "Refund")
    owed = booking_model.objects.filter(
        status__in=["CANCELLED", "FAILED"], payment_status="SUCCESS", total_price__gt=0
    )
    refund_model.objects.bulk_create(
        refund_model(
            id=uuid.uuid5(booking.pk, "refund"),
            booking=booking,
            amount=booking.total_price,
            tickets=booking.returned_quantity,
            reason="CANCELLED" if booking.status == "CANCELLED" else "LATE",
        )
        for booking in owed
    )


class Migration(migrations.Migration):
    """Bookings that were cancelled or paid late get the rows of their returns and refunds."""

    dependencies = [("bookings", "0002_gateways_refunds_returns")]

    operations = [
        migrations.RunSQL([CANCELLED, LATE, SENT], migrations.RunSQL.noop),
        migrations.RunPython(make_due_refunds, migrations.RunPython.noop),
        migrations.RunSQL(RETURNS, migrations.RunSQL.noop),
    ]
