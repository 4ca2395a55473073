from django.db import migrations, models

MEND = """
UPDATE concerts_concert
SET sales_open_at =
        CASE WHEN sales_open_at >= date THEN date - interval '1 microsecond' ELSE sales_open_at END,
    sales_close_at = CASE WHEN sales_close_at > date THEN date ELSE sales_close_at END,
    updated_at = now()
WHERE sales_open_at >= date OR sales_close_at > date
"""


class Migration(migrations.Migration):
    """Sales open before the concert begins, and close when it begins at the latest.

    Old rows are mended so that they sell what they sold before. Sales that opened too late never opened.
    Without an opening time such a concert would be on sale at once, so it opens a microsecond before it
    begins, and staff see that time. Sales that closed too late have always ended with the beginning.
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
        migrations.AddConstraint(
            model_name="concert",
            constraint=models.CheckConstraint(
                condition=models.Q(sales_close_at__isnull=True)
                | models.Q(sales_close_at__lte=models.F("date")),
                name="concert_sales_close_when_it_begins",
                violation_error_message="Sales must close when the concert begins, or earlier.",
            ),
        ),
    ]
