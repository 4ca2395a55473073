from django.db import migrations, models

MEND = """
UPDATE concerts_concert
SET sales_open_at = date - interval '1 microsecond', updated_at = now()
WHERE sales_open_at >= date
"""


class Migration(migrations.Migration):
    """Sales open before the concert begins.

    Old rows are mended so that they sell what they sold before. Sales that opened too late never opened.
    Without an opening time such a concert would be on sale at once, so it opens a microsecond before it
    begins, and staff see that time.
    """

    dependencies = [("concerts", "0004_kept_back")]

    operations = [
        migrations.RunSQL(MEND, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="concert",
            constraint=models.CheckConstraint(
                condition=models.Q(sales_open_at__isnull=True)
                | models.Q(sales_open_at__lt=models.F("date")),
                name="concert_sales_open_before_it_begins",
                violation_error_message="Sales must open before the concert begins.",
            ),
        ),
    ]
