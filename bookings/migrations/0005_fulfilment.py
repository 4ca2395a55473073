from datetime import UTC, datetime

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import F, Q

# Bookings of the version before count as fulfilled, so that nobody is mailed about them (BEFORE_TICKETS). As a
# default of the new column the time is stored once, and not in every row.
BEFORE_TICKETS = datetime(1970, 1, 1, tzinfo=UTC)

# Holds are confirmed by this version, and get their tickets as new ones do.
HOLDS_ARE_NEW = "UPDATE bookings_booking SET fulfilled_at = NULL WHERE status = 'PENDING'"


class Migration(migrations.Migration):
    dependencies = [("bookings", "0004_called_off")]

    operations = [
        migrations.AddField(
            model_name="booking",
            name="fulfilled_at",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, db_default=BEFORE_TICKETS
            ),
        ),
        migrations.AlterField(
            model_name="booking",
            name="fulfilled_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="booking",
            index=models.Index(
                fields=["id"],
                condition=Q(fulfilled_at__isnull=True)
                & (
                    Q(status="CONFIRMED") | Q(status="FAILED", outcome_unknown=True, action_url="")
                ),
                name="booking_to_fulfil",
            ),
        ),
        migrations.RunSQL(HOLDS_ARE_NEW, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="return",
            name="numbers",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.SmallIntegerField(),
                blank=True,
                db_default=[],
                default=list,
                size=None,
            ),
        ),
        migrations.AddConstraint(
            model_name="return",
            constraint=models.CheckConstraint(
                condition=Q(numbers__len=0) | Q(numbers__len=F("tickets")),
                name="return_numbers_match",
            ),
        ),
    ]
