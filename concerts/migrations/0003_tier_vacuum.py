from django.db import migrations


class Migration(migrations.Migration):
    """Vacuum the tiers by the number of their dead versions, and never under a lock that stops sales.

    A hot row leaves thousands of versions a minute. HOT pruning clears most of them; a share of the
    table (autovacuum's default) would leave the rest to pile up the longer the table is. Truncation
    would take an ACCESS EXCLUSIVE lock on the table for what the next sale fills again.
    """

    dependencies = [("concerts", "0002_tier_fillfactor")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE concerts_tickettier SET (autovacuum_vacuum_scale_factor = 0,"
            " autovacuum_vacuum_threshold = 5000, vacuum_truncate = off)",
            "ALTER TABLE concerts_tickettier RESET (autovacuum_vacuum_scale_factor,"
            " autovacuum_vacuum_threshold, vacuum_truncate)",
        ),
    ]
