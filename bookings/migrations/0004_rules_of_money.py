import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    """The rules of returns and refunds, which the bookings keep since 0003."""

    dependencies = [("bookings", "0003_returns_of_old_bookings")]

    operations = [
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
