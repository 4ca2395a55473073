from django.db import migrations


class Migration(migrations.Migration):
    """Leave half of each page free: every sale updates the row, and the new version stays beside it (HOT)."""

    dependencies = [("concerts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE concerts_tickettier SET (fillfactor = 50)",
            "ALTER TABLE concerts_tickettier RESET (fillfactor)",
        ),
    ]
