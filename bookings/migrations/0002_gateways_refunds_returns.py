import django.db.models.deletion
import django.db.models.functions.datetime
import ticketbook.postgres.keys
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models

from bookings.gateways import named


def gateway_of_old_bookings():
    """The name of the gateway that took the money of the bookings made so far.

    There was one gateway, whose path was in PAYMENT_GATEWAY. Whoever has moved that path to PAYMENT_GATEWAYS
    before the migration has given it another name, and that one is the default.
    """
    if settings.PAYMENT_GATEWAY:
        return named.MAIN
    name = named.default()
    return "simulated" if name in named.BUILT_IN else name


def keep_default(apps, editor):
    """Processes of the version before, which may still run, write bookings without a gateway's name."""
    name = editor.quote_value(gateway_of_old_bookings())
    editor.execute(f"ALTER TABLE bookings_booking ALTER COLUMN gateway SET DEFAULT {name}")


class Migration(migrations.Migration):

    dependencies = [
        ('bookings', '0001_initial'),
        ('concerts', '0004_kept_back'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PaymentEvent',
            fields=[
                ('id', ticketbook.postgres.keys.DatabaseKeyField(blank=True, db_default=ticketbook.postgres.keys.UUIDv7(), editable=False, primary_key=True, serialize=False)),
                ('gateway', models.CharField(max_length=32)),
                ('event_id', models.CharField(max_length=255)),
                ('type', models.CharField(max_length=100)),
                ('key', models.UUIDField(blank=True, null=True)),
                ('claim', models.CharField(blank=True, max_length=9)),
                ('found', models.CharField(blank=True, max_length=9)),
                ('alert', models.TextField(blank=True, db_default='')),
                ('received_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('handled_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Refund',
            fields=[
                ('id', ticketbook.postgres.keys.DatabaseKeyField(blank=True, db_default=ticketbook.postgres.keys.UUIDv7(), editable=False, primary_key=True, serialize=False)),
                ('amount', models.DecimalField(decimal_places=2, max_digits=10)),
                ('tickets', models.SmallIntegerField(db_default=0, default=0)),
                ('reason', models.CharField(choices=[('CANCELLED', 'Booking cancelled'), ('PART', 'Some tickets returned'), ('CALLED_OFF', 'Concert called off'), ('LATE', 'Paid after the tickets had gone'), ('GOODWILL', 'Goodwill')], max_length=10)),
                ('note', models.TextField(blank=True, db_default='', default='')),
                ('status', models.CharField(choices=[('DUE', 'Due'), ('SENT', 'Sent'), ('FAILED', 'Refused')], db_default='DUE', default='DUE', max_length=6)),
                ('failure', models.TextField(blank=True, db_default='', default='')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Return',
            fields=[
                ('id', ticketbook.postgres.keys.DatabaseKeyField(blank=True, db_default=ticketbook.postgres.keys.UUIDv7(), editable=False, primary_key=True, serialize=False)),
                ('tickets', models.SmallIntegerField()),
                ('idempotency_key', models.UUIDField(blank=True, null=True)),
                ('note', models.TextField(blank=True, db_default='', default='')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='booking',
            name='booking_status_pair_allowed',
        ),
        migrations.RemoveIndex(
            model_name='booking',
            name='booking_tier_status',
        ),
        migrations.RemoveIndex(
            model_name='booking',
            name='booking_refund_owed',
        ),
        migrations.AddField(
            model_name='booking',
            name='action_url',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='booking',
            name='gateway',
            field=models.CharField(default=gateway_of_old_bookings, max_length=32),
        ),
        migrations.AlterField(
            model_name='booking',
            name='gateway',
            field=models.CharField(default=named.default, max_length=32),
        ),
        migrations.RunPython(keep_default, migrations.RunPython.noop),
        migrations.AddField(
            model_name='booking',
            name='gateway_reference',
            field=models.CharField(blank=True, db_default='', default='', max_length=255),
        ),
        migrations.AddField(
            model_name='booking',
            name='refunded_total',
            field=models.DecimalField(db_default=Decimal('0'), decimal_places=2, default=Decimal('0'), max_digits=10),
        ),
        migrations.AddField(
            model_name='booking',
            name='returned_quantity',
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='booking',
            name='source',
            field=models.CharField(choices=[('ONLINE', 'Online'), ('HOUSE', 'House'), ('ARTIST', 'Artist'), ('DOOR', 'Door')], db_default='ONLINE', default='ONLINE', max_length=6),
        ),
        migrations.AddIndex(
            model_name='booking',
            index=models.Index(fields=['ticket_tier', 'status'], include=('quantity', 'returned_quantity'), name='booking_tier_status'),
        ),
        migrations.AddIndex(
            model_name='booking',
            index=models.Index(condition=models.Q(('outcome_unknown', True), ('status', 'PENDING')), fields=['user'], name='booking_unpaid'),
        ),
        migrations.AddIndex(
            model_name='paymentevent',
            index=models.Index(condition=models.Q(('handled_at__isnull', True)), fields=['received_at'], name='payment_event_unhandled'),
        ),
        migrations.AddIndex(
            model_name='paymentevent',
            index=models.Index(condition=models.Q(('alert', ''), _negated=True), fields=['received_at'], name='payment_event_alert'),
        ),
        migrations.AddConstraint(
            model_name='paymentevent',
            constraint=models.UniqueConstraint(fields=('gateway', 'event_id'), name='payment_event_unique'),
        ),
        migrations.AddField(
            model_name='refund',
            name='booking',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='bookings.booking'),
        ),
        migrations.AddField(
            model_name='refund',
            name='made_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='return',
            name='booking',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='returns', to='bookings.booking'),
        ),
        migrations.AddField(
            model_name='return',
            name='made_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='return',
            name='refund',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='returns', to='bookings.refund'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(fields=['booking'], name='refund_booking'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('status', 'SENT'), _negated=True), fields=['status', 'created_at'], name='refund_open'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='refund_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('tickets__gte', 0), ('tickets__lte', 10)), name='refund_tickets_range'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('reason__in', ['CANCELLED', 'PART', 'CALLED_OFF', 'LATE', 'GOODWILL'])), name='refund_reason_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('sent_at__isnull', False), ('status', 'SENT')), models.Q(('sent_at__isnull', True), ('status__in', ['DUE', 'FAILED'])), _connector='OR'), name='refund_sent_has_time'),
        ),
        migrations.AddConstraint(
            model_name='return',
            constraint=models.CheckConstraint(condition=models.Q(('tickets__gte', 1), ('tickets__lte', 10)), name='return_tickets_range'),
        ),
        migrations.AddConstraint(
            model_name='return',
            constraint=models.UniqueConstraint(fields=('refund',), name='return_refund_unique'),
        ),
        migrations.AddConstraint(
            model_name='return',
            constraint=models.UniqueConstraint(fields=('booking', 'idempotency_key'), name='return_booking_key_unique'),
        ),
    ]
