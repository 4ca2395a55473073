import uuid

import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

# Nothing is cancelled between the mends and the rules that follow them.
LOCK = "LOCK TABLE bookings_booking IN SHARE ROW EXCLUSIVE MODE"

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
    """Bookings that were cancelled or paid late get the rows of their returns and refunds, and their rules."""

    dependencies = [("bookings", "0002_gateways_refunds_returns")]

    operations = [
        migrations.RunSQL(LOCK, migrations.RunSQL.noop),
        migrations.RunSQL([CANCELLED, LATE, SENT], migrations.RunSQL.noop),
        migrations.RunPython(make_due_refunds, migrations.RunPython.noop),
        migrations.RunSQL(RETURNS, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.In(django.db.models.functions.text.Concat('status', models.Value(' '), 'payment_status', models.Value(' '), 'failure_reason'), ['PENDING PENDING ', 'CONFIRMED SUCCESS ', 'CONFIRMED REFUNDED ', 'FAILED FAILED DECLINED', 'FAILED FAILED EXPIRED', 'FAILED SUCCESS EXPIRED', 'FAILED REFUNDED EXPIRED', 'CANCELLED SUCCESS ', 'CANCELLED REFUNDED ']), name='booking_status_pair_allowed'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('returned_quantity', 0), models.Q(('returned_quantity__gt', 0), ('returned_quantity__lte', models.F('quantity'))), _connector='OR'), name='booking_returned_range'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('returned_quantity', models.F('quantity')), ('status', 'CANCELLED')), models.Q(models.Q(('status', 'CANCELLED'), _negated=True), models.Q(('returned_quantity', 0), models.Q(('returned_quantity__lt', models.F('quantity')), ('status', 'CONFIRMED')), _connector='OR')), _connector='OR'), name='booking_status_returned'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('refunded_total', 0), models.Q(('refunded_total__gt', 0), ('refunded_total__lte', models.F('total_price'))), _connector='OR'), name='booking_refunded_range'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('payment_status', 'SUCCESS'), models.Q(('payment_status', 'REFUNDED'), ('refunded_total', models.F('total_price'))), models.Q(('refunded_total', 0), models.Q(('payment_status', 'REFUNDED'), _negated=True)), _connector='OR'), name='booking_status_refunded'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('gateway', ''), _negated=True), name='booking_gateway_named'),
        ),
        migrations.AddConstraint(
            model_name='booking',
            constraint=models.CheckConstraint(condition=models.Q(('source__in', ['ONLINE', 'HOUSE', 'ARTIST', 'DOOR'])), name='booking_source_known'),
        ),
    ]
