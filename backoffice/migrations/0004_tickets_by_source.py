from django.db import migrations, models


def count_anew(apps, schema_editor):
    # House and artist tickets were counted with those for cash, or with the free ones.
    apps.get_model("backoffice", "ClosedDay").objects.all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ('backoffice', '0003_cash_back'),
    ]

    operations = [
        migrations.AddField(
            model_name='closedday',
            name='house_tickets',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='closedday',
            name='artist_tickets',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(count_anew, migrations.RunPython.noop),
    ]
