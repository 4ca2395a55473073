from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bookings', '0009_payment_event_key'),
    ]

    operations = [
        migrations.AddField(
            model_name='refund',
            name='paid_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='return',
            name='paid_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
